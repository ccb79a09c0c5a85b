"""`hanlin doctor`: is this machine ready, and what is to be mended?"""

from __future__ import annotations

import click

from hanlin.cli import console
from hanlin.cli.options import json_option
from hanlin.core.errors import ResourceError

MARKS = {"ok": "ok", "note": "note", "warning": "WARN", "failure": "FAIL"}


@click.command()
@click.option("--offline", is_flag=True, help="Do not ask whether the hub answers.")
@json_option
def doctor(offline: bool, as_json: bool) -> None:
    """Look at machine, packages, cards, hub and disk; say what is to be mended.

    The text holds no names, paths or secrets: paste it into a report of a problem. The exit code is
    5 where something is broken, 0 otherwise.

    \b
    Examples:
      hanlin doctor
      hanlin doctor --offline --json
    """
    from hanlin.pipeline.doctor import examine

    findings = examine(is_offline=offline)
    broken = [item for item in findings if item.status == "failure"]
    rows = [[MARKS[item.status], item.topic, item.text] for item in findings]
    mends = [f"  {item.topic}: {item.mend}" for item in findings if item.mend]
    text = console.table(rows, header=["", "what", "found"])
    if mends:
        text += "\n\nto mend or to add:\n" + "\n".join(mends)
    value = {"ok": not broken, "findings": [item.as_dict() for item in findings]}
    console.result(value, as_json=as_json, text=text)
    if broken:
        raise ResourceError(
            f"{len(broken)} of {len(findings)} findings are failures: "
            + ", ".join(item.topic for item in broken),
            fix="see `to mend` above",
        )
