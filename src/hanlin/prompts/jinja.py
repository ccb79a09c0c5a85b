"""How do other programs see a prompt format? As the tokenizer's `chat_template`, made from it.

tokenizer.chat_template = chat_template(get_format("plain"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from hanlin.core.records import Conversation, Message
from hanlin.prompts.encode import TextEncoder, encode_conversation
from hanlin.prompts.format import CONTENT, PromptFormat, fill
from hanlin.prompts.probe import PROBE

NO_SYSTEM = "messages | selectattr('role', 'equalto', 'system') | list | length == 0"


class ChatTokenizer(TextEncoder, Protocol):
    """A tokenizer that carries the transformers one it was made from."""

    @property
    def hf(self) -> Any:  # noqa: ANN401 - transformers is not imported here
        """Return the transformers tokenizer."""


def chat_template(format: PromptFormat, *, writes_space: bool = False) -> str:
    """Return the Jinja template of a format.

    Args:
        format: the prompt format.
        writes_space: write the space that our encoding puts before text that follows a special
            token. False for tokenizers that put it there themselves (LLaMA's `tokenizer.json`,
            llama.cpp) or have none; True where only the very beginning of a string gets one
            (`prepend_scheme: first`). `checked_chat_template` finds out which.
    """
    space = " " if writes_space else ""
    separator = (space if format.eos_after == "every" else "") + format.separator
    between = f"{{% if after.answer %}}{_printed(separator)}{{% endif %}}"
    eos = "{{ eos_token }}"
    if format.eos_after == "last":
        eos = f"{{% if loop.last and not add_generation_prompt %}}{eos}{{% endif %}}"
    system = _printed(fill(format.system, format.default_system)) if format.default_system else ""
    return "".join(
        [
            "{{ bos_token }}" + _printed(space) if format.is_bos_first else "",
            f"{{% if {NO_SYSTEM} %}}{system}{{% endif %}}" if system else "",
            "{% set after = namespace(answer=false) %}",
            "{% for message in messages %}" + between,
            "{% set after.answer = message['role'] == 'assistant' %}",
            "{% if message['role'] == 'system' %}" + _message(format.system),
            "{% elif message['role'] == 'user' %}" + _message(format.user),
            "{% else %}" + _printed(format.assistant) + _message(format.answer) + eos,
            "{% endif %}{% endfor %}",
            "{% if add_generation_prompt %}" + between + _printed(format.assistant) + "{% endif %}",
        ]
    )


def checked_chat_template(format: PromptFormat, tokenizer: ChatTokenizer) -> str | None:
    """Return a template that gives, with this tokenizer, the ids of the probe conversation.

    None where neither does: better none than one that feeds a served model prompts that it never
    saw. (Where `format.has_exact_borders` is False, rare texts still differ: a tokenizer may join
    the last character of the template and the first of an answer.)
    """
    # A rendered string cannot tell an end token from a text that looks like one; our ids can.
    sample = Conversation(
        tuple(Message(m.role, m.content.replace("</s>", "")) for m in PROBE.messages)
    )
    wanted = encode_conversation(sample, format=format, tokenizer=tokenizer).ids
    for writes_space in (False, True):
        template = chat_template(format, writes_space=writes_space)
        if template_ids(template, sample.messages, tokenizer=tokenizer) == wanted:
            return template
    return None


def template_ids(
    template: str,
    messages: Sequence[Message],
    *,
    tokenizer: ChatTokenizer,
    add_generation_prompt: bool = False,
) -> list[int]:
    """Return the ids that transformers gets from a template: one string, encoded as a whole."""
    text = tokenizer.hf.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in messages],
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
    )
    ids: list[int] = tokenizer.hf(text, add_special_tokens=False)["input_ids"]
    return ids


def _printed(text: str) -> str:
    return f"{{{{ {_quoted(text)} }}}}" if text else ""


def _message(template: str) -> str:
    before, _, after = template.partition(CONTENT)
    parts = [_quoted(before)] if before else []
    parts.append("message['content']")
    parts += [_quoted(after)] if after else []
    return f"{{{{ {' + '.join(parts)} }}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
