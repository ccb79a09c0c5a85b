"""A finished run for tests that only read it."""

import pytest
from report_folder import write_run


@pytest.fixture
def run_dir(tmp_path):
    """A fresh run's folder that came to its end."""
    return write_run(tmp_path / "runs" / "quickstart")
