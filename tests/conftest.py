"""What several tests share: the public data, and a quiet place for caches."""

import os
import secrets
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns on stdout, see cli.main
# Ray reads its token once in a process, at the latest when it is first used.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


LONGEST = ("test_train_ranks.py", "test_kill_resume.py", "test_recipes_tiny.py", "test_data_ray.py",
           "test_ui_browser.py", "test_torchrun.py", "test_book_pages.py")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_and_no_hub():
    """Tests make their own stages and never reach out."""
    old = {name: os.environ.get(name) for name in ("HANLIN_CACHE", "HF_HUB_OFFLINE")}
    os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"}
    yield
    for name, value in old.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data, or a skip that says how to name it."""
    folder = Path(os.environ.get("HANLIN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no public data at {folder}: set HANLIN_DATA to run this test")
    return folder


@pytest.fixture(scope="module")
def ray_cluster():
    """A Ray cluster of two nodes with a processor each, in processes of their own; joined."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from hanlin.data.ray_workers import NOT_WANTED

    os.environ |= NOT_WANTED
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()
