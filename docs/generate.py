"""Write the pages that come from code: `python docs/generate.py [--check]` (make docs).

docs/cli.md holds the help of every command, docs/config.md every key of every stage,
docs/prompts.md an example of every prompt format; the tables of docs/plan.md and docs/recipes.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tables import filled, has_tables, untranslated

from hanlin.cli.main import cli
from hanlin.core.records import Message, ToolCall
from hanlin.core.stage import Stage
from hanlin.pipeline.stages import STAGES
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.render import Segment, render

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


PROMPTS_INTRO = """# Prompt formats

How a conversation becomes text is said once, in `hanlin.prompts.formats`; training, chat,
evaluation, the tokenizer's `chat_template` and the GGUF file are all made from it. `--prompt
NAME` chooses one.

In the examples, `⟦ ⟧` stands around what the loss counts: the answers and the token that ends
them. `<s>` and `</s>` are the tokenizer's begin and end tokens, whatever they are called there.
What a format names as *markers* are special tokens that the tokenizer must have (`hanlin
tokenizer extend BASE --special '<|im_end|>' ...`). The same words typed by somebody stay ordinary
text: no message can make a special token.

- An answer with `weight: 0` (or `is_trained` false) is context only.
- `loss_on: last` trains the last answer of each conversation alone.
- `truncate` says which whole turns leave a conversation that is too long; answers are never cut.
- Tools, calls and results are written where the format has a place for them. A conversation with
  tools in another format is a bad row, with its line number and the reason beside the store.
- An `input` that the data keeps apart from its `instruction` has a block of its own in the
  formats of the alpaca family, and follows behind a line break in the others.
"""
EXAMPLE = (
    Message("system", "Answer briefly. 请简短回答。"),
    Message("user", "谁写了《石头记》？"),
    Message("assistant", "曹雪芹。"),
    Message("user", "And who wrote Hamlet?"),
    Message("assistant", "Shakespeare."),
)
INPUT_EXAMPLE = (
    Message("user", "Translate into English.\n河流", input_at=24),
    Message("assistant", "river"),
)
TOOL = '{"name": "weather", "parameters": {"city": {"type": "string"}}}'
TOOL_EXAMPLE = (
    Message("user", "北京的天气？"),
    Message("assistant", "", tool_calls=(ToolCall("weather", '{"city": "北京"}'),)),
    Message("tool", "晴"),
    Message("assistant", "晴天。"),
)


def prompts_page() -> str:
    """Return docs/prompts.md."""
    parts = [HEADER, PROMPTS_INTRO]
    for name in FORMATS:
        format = get_format(name)
        parts.append(f"\n## `{name}`\n\n{format.summary}\n\n{example(EXAMPLE, format)}")
        if format.markers:
            markers = ", ".join(f"`{marker}`" for marker in format.markers)
            parts.append(f"\nMarkers: {markers}.\n")
        if format.default_system:
            parts.append(f"\nWithout a system message: {format.default_system}\n")
        if format.input_user:
            parts.append(f"\nWith an input:\n\n{example(INPUT_EXAMPLE, format)}")
        if format.tools:
            parts.append(f"\nWith tools:\n\n{example(TOOL_EXAMPLE, format, tools=(TOOL,))}")
    return "".join(parts)


def example(
    messages: tuple[Message, ...], format: PromptFormat, *, tools: tuple[str, ...] = ()
) -> str:
    """Return a rendered conversation as a block of text."""
    segments = render(messages, format=format, opens_answer=False, tools=tools)
    if format.is_bos_first:
        segments = [Segment("", special="{bos}"), *segments]
    names = {"{bos}": "<s>", "{eos}": "</s>"}
    text = ""
    for segment in segments:
        shown = names.get(segment.special, segment.text or "")
        text += f"⟦{shown}⟧" if segment.answer is not None else shown
    return f"```text\n{text.replace('⟧⟦', '')}\n```\n"


def main() -> int:
    """Write the pages, or with --check tell whether they are up to date."""
    stale = []
    pages = {"cli.md": cli_page(), "config.md": config_page(), "prompts.md": prompts_page()}
    pages |= {page.name: filled(page) for page in sorted(DOCS.glob("*.md")) if has_tables(page)}
    for name, text in pages.items():
        page = DOCS / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make docs`\n")
        return 1
    if "--check" in sys.argv and (missing := untranslated()):
        sys.stderr.write(f"docs/words.zh.yaml lacks: {'; '.join(missing)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
