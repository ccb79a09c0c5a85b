"""How is a model talked to? Its prompt as text, and commands and code that can be pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hanlin.core.errors import HanlinError
from hanlin.core.files import read_json
from hanlin.core.records import Message
from hanlin.models.manifest import read_manifest
from hanlin.prompts.format import BOS, PromptFormat
from hanlin.prompts.formats import FORMATS
from hanlin.prompts.render import render

QUESTION = "你好！"


def prompt_section(model: Path) -> list[str]:
    """Return what the card says of the prompt: its name, an example, where answers end."""
    name = _prompt_name(model)
    if not name:
        return [
            "Not recorded in `hanlin.json`: the model continues texts, and no form of a "
            "conversation was trained as far as the folder says."
        ]
    try:
        format: PromptFormat = FORMATS.get(name)
    except HanlinError:
        return [f"`{name}`, a format of a package that is not installed where this was written."]
    begin, end = _special_tokens(model)
    segments = render([Message("user", QUESTION)], format=format, opens_answer=True)
    parts = (end if part.text is None else part.text for part in segments if part.special != BOS)
    text = "".join(parts)
    stops = ", ".join(f"`{stop!r}`" for stop in format.stop_strings)
    first = f", after the begin token `{begin}`" if format.is_bos_first else ""
    return [
        f"`{name}`: {format.summary} A question, up to where the answer begins{first}:",
        "",
        "```text",
        text,
        "```",
        "",
        f"An answer ends with `{format.end.replace('{eos}', end)}`"
        + (f"; cut it at {stops} in any case." if stops else "."),
    ]


def _prompt_name(model: Path) -> str:
    prompt = read_manifest(model).get("prompt")
    return str(prompt.get("format", "")) if isinstance(prompt, dict) else str(prompt or "")


def _special_tokens(model: Path) -> tuple[str, str]:
    """Return the texts of the begin and the end token; their names where there is no tokenizer."""
    file = model / "tokenizer_config.json"
    settings: dict[str, Any] = read_json(file) if file.is_file() else {}
    found = (settings.get(key) for key in ("bos_token", "eos_token"))
    begin, end = (t.get("content") if isinstance(t, dict) else t for t in found)
    return str(begin or BOS), str(end or "{eos}")


def usage_section(model: Path, *, name: str, base: str, is_adapter: bool) -> list[str]:
    """Return commands and code that load the model.

    Args:
        model: its folder.
        name: its id on the hub, else its folder's name.
        base: of an adapter: the model to put it on.
        is_adapter: it is an adapter.
    """
    asks = bool(_prompt_name(model))
    if is_adapter:
        merge = f"hanlin weights merge {base or 'BASE'} {name} merged"
        return ["```bash", merge, "hanlin chat merged", "```", "", *_peft(name, base)]
    shell = [f"hanlin chat {name}", f"hanlin serve {name}    # an OpenAI-compatible API"]
    return ["```bash", *(shell if asks else shell[1:]), "```", "", *_transformers(name, asks)]


def _transformers(name: str, asks: bool) -> list[str]:
    first = [
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        f'model = AutoModelForCausalLM.from_pretrained("{name}")',
    ]
    if asks:
        first += [
            f'messages = [{{"role": "user", "content": "{QUESTION}"}}]',
            "inputs = tokenizer.apply_chat_template(",
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
            ")",
        ]
    else:
        first.append(f'inputs = tokenizer("{QUESTION}", return_tensors="pt")')
    return _python("from transformers import AutoModelForCausalLM, AutoTokenizer", first)


def _peft(name: str, base: str) -> list[str]:
    lines = [
        f'base = AutoModelForCausalLM.from_pretrained("{base or "BASE"}")',
        f'model = PeftModel.from_pretrained(base, "{name}")',
    ]
    imports = "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM"
    return ["```python", *imports.split("\n"), "", *lines, "```"]


def _python(imports: str, lines: list[str]) -> list[str]:
    last = [
        "output = model.generate(**inputs, max_new_tokens=128)",
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))',
    ]
    return ["```python", imports, "", *lines, *last, "```"]
