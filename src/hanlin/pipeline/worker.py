"""One process of a stage that runs in several: `torchrun ... -m hanlin.pipeline.worker SPEC`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hanlin.core import ranks
from hanlin.core.errors import HanlinError
from hanlin.core.events import EventLog
from hanlin.core.stage import Stage, StageContext
from hanlin.pipeline.stages import STAGES


def main(specification: str) -> int:
    """Run the stage that the file describes; return an exit code.

    Every process runs the same stage; the stage itself lets only rank 0 write.
    """
    spec = json.loads(Path(specification).read_text(encoding="utf-8"))
    stage: Stage = STAGES.get(spec["stage"])
    events = EventLog(Path(spec["events"]))
    context = StageContext(spec["name"], Path(spec["out"]), spec["seed"], events, note=_note)
    try:
        stage.run(stage.config.model_validate(spec["config"]), context)
    except HanlinError as error:
        rank = os.environ.get("RANK", "0")
        sys.stderr.write(f"error (process {rank}): {error}\n")
        return error.exit_code
    return 0


def _note(line: str) -> None:
    if ranks.is_first():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
