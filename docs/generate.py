"""Write the pages that come from code: `python docs/generate.py [--check]` (make docs).

docs/cli.md holds the help of every command, docs/config.md every key of every stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hanlin.cli.main import cli
from hanlin.core.stage import Stage
from hanlin.pipeline.stages import STAGES

DOCS = Path(__file__).resolve().parent
HEADER = "<!-- written by docs/generate.py: edit the code, then run `make docs` -->\n\n"


def commands(
    command: click.Command, words: tuple[str, ...], parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (command line, help text) of a command and of all below it."""
    context = click.Context(command, info_name=words[-1], parent=parent, terminal_width=90)
    yield " ".join(words), command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from commands(below, (*words, name), context)


def cli_page() -> str:
    """Return docs/cli.md."""
    parts = [HEADER, "# Command line\n"]
    for line, text in commands(cli, ("hanlin",)):
        parts.append(f"\n## `{line}`\n\n```text\n{text.rstrip()}\n```\n")
    return "".join(parts)


def config_page() -> str:
    """Return docs/config.md."""
    parts = [HEADER, "# Settings of each stage\n\n"]
    parts.append("A path may be `@stage/output` of an earlier stage of the recipe.\n")
    for kind in STAGES:
        stage: Stage = STAGES.get(kind)
        schema = stage.config.model_json_schema()
        summary = stage.summary[0].upper() + stage.summary[1:].rstrip(".")
        parts.append(f"\n## `{kind}`\n\n{summary}.\n\n")
        parts.append("| key | type | default | meaning |\n|---|---|---|---|\n")
        parts += rows(schema, schema.get("$defs", {}), "")
    return "".join(parts)


def rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield a table row for each key; keys of nested sections follow with a dotted name."""
    for name, field in schema.get("properties", {}).items():
        default = "needed" if name in schema.get("required", []) else repr(field.get("default"))
        meaning = " ".join(field.get("description", "").split()).replace("|", "\\|")
        kind = type_name(field).replace("|", "\\|")
        nested = referenced(field, definitions)
        shown = "see below" if nested and default != "needed" else f"`{default}`"
        yield f"| `{prefix}{name}` | {kind} | {shown} | {meaning} |\n"
        if nested:
            yield from rows(nested, definitions, f"{prefix}{name}.")


def referenced(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """Return the section that a field holds (or a list of), if it holds one."""
    for part in [field, *field.get("anyOf", []), *field.get("allOf", []), field.get("items", {})]:
        found = definitions.get(part.get("$ref", "").rpartition("/")[2])
        if found and "properties" in found:
            return dict(found)
    return None


def type_name(field: dict[str, Any]) -> str:
    """Return a short name for a field's type."""
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " | ".join(type_name(part) for part in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        of = field.get("items") or next(iter(field.get("prefixItems", [])), {})
        return f"list of {type_name(of)}"
    return str(field.get("const", field.get("type", "section")))


def main() -> int:
    """Write the pages, or with --check tell whether they are up to date."""
    stale = []
    for name, text in {"cli.md": cli_page(), "config.md": config_page()}.items():
        page = DOCS / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
