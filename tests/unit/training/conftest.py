"""One tiny world for all tests of training."""

import pytest

from training_world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def tied_world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("tied"), tie=True)
