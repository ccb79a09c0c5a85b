"""Where are the files of a benchmark: in a local folder, or in a data set of the hub?"""

from __future__ import annotations

from pathlib import Path

from hanlin.data.readers.hub import fetched, is_hub_id
from hanlin.evaluation.benchmark import BenchmarkConfig


def data_folder(config: BenchmarkConfig) -> Path:
    """Return a benchmark's folder (or file); a data set of the hub is fetched first.

    Raises:
        InputError: the hub does not give it.
        MissingExtraError: huggingface_hub is not installed.
    """
    path = Path(config.data).expanduser()
    return fetched(path) if not path.exists() and is_hub_id(path) else path
