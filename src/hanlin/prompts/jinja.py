"""How do other programs see a prompt format? As the tokenizer's `chat_template`, made from it.

tokenizer.chat_template = chat_template(get_format("plain"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hanlin.core.records import Conversation, Message
from hanlin.prompts.encode import TextEncoder, encode_conversation
from hanlin.prompts.format import BOS, CONTENT, EOS, SYSTEM, PromptFormat, ToolFormat, pieces
from hanlin.prompts.probe import PROBE

NO_SYSTEM = "messages | selectattr('role', 'equalto', 'system') | list | length == 0"
OF_LAST = "loop.last and not add_generation_prompt"


class ChatTokenizer(TextEncoder, Protocol):
    """A tokenizer that carries the transformers one it was made from."""

    @property
    def hf(self) -> Any:  # noqa: ANN401 - transformers is not imported here
        """Return the transformers tokenizer."""


def chat_template(format: PromptFormat, *, writes_space: bool = False, has_bos: bool = True) -> str:
    """Return the Jinja template of a format.

    Args:
        format: the prompt format. (An input that is kept apart is unknown to chat templates:
            messages have one text.)
        writes_space: write the space that our encoding puts before text that follows a special
            token. False for tokenizers that put it there themselves (LLaMA's `tokenizer.json`,
            llama.cpp) or have none; True where only the very beginning of a string gets one
            (`prepend_scheme: first`). `checked_chat_template` finds out which.
        has_bos: the tokenizer has a begin token.
    """
    return _Template(format, writes_space=writes_space, has_bos=has_bos).whole()


def checked_chat_template(format: PromptFormat, tokenizer: ChatTokenizer) -> str | None:
    """Return a template that gives, with this tokenizer, the ids of the probe conversation.

    None where neither does: better none than one that feeds a served model prompts that it never
    saw. (Where `format.has_exact_borders` is False, rare texts still differ: a tokenizer may join
    the last character of the template and the first of an answer.)
    """
    # A rendered string cannot tell an end token from a text that looks like one; our ids can.
    sample = Conversation(
        tuple(Message(m.role, m.content.replace(" </s>", "")) for m in PROBE.messages)
    )
    wanted = encode_conversation(sample, format=format, tokenizer=tokenizer).ids
    for writes_space in (False, True):
        template = chat_template(
            format, writes_space=writes_space, has_bos=tokenizer.bos_id is not None
        )
        if template_ids(template, sample.messages, tokenizer=tokenizer) == wanted:
            return template
    return None


def template_ids(
    template: str,
    messages: Sequence[Message],
    *,
    tokenizer: ChatTokenizer,
    add_generation_prompt: bool = False,
    tools: Sequence[str] = (),
) -> list[int]:
    """Return the ids that transformers gets from a template: one string, encoded as a whole."""
    text = tokenizer.hf.apply_chat_template(
        [as_openai(message) for message in messages],
        tools=[json.loads(tool) for tool in tools] or None,
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
    )
    ids: list[int] = tokenizer.hf(text, add_special_tokens=False)["input_ids"]
    return ids


def as_openai(message: Message) -> dict[str, Any]:
    """Return a message as the OpenAI API and chat templates take it."""
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return found


class _Template:
    """Writes a template part by part.

    `at` is a Jinja namespace: `at.system` the system text that waits for the next question,
    `at.answer` whether an answer came before, `at.special` whether a special token did.
    """

    def __init__(self, format: PromptFormat, *, writes_space: bool, has_bos: bool) -> None:
        self.format, self.writes_space, self.has_bos = format, writes_space, has_bos

    def whole(self) -> str:
        format = self.format
        between = f"{{% if at.answer %}}{self.print(format.separator)}{{% endif %}}"
        system = self.system(_quoted(format.default_system))
        if self.has_pending_system:
            no_question = self.print(format.user, {CONTENT: "''"})
            no_question = f"{{% if at.system %}}{no_question}{{% endif %}}"
        else:
            no_question = ""
        opens = no_question + self.print(format.assistant)
        return "".join(
            [
                "{% set at = namespace(answer=false, special=true, system='', text='') %}",
                "{{ bos_token }}" if format.is_bos_first and self.has_bos else "",
                f"{{% if {NO_SYSTEM} %}}{system}{{% endif %}}" if system else "",
                "{% for message in messages %}" + between,
                "{% set at.answer = message['role'] == 'assistant' %}",
                "{% if message['role'] == 'system' %}" + self.system(self.content),
                "{% elif message['role'] == 'user' %}" + self.print(format.user),
                self.result(),
                "{% else %}" + opens + self.answer(),
                "{% endif %}{% endfor %}",
                "{% if add_generation_prompt %}" + between + opens + "{% endif %}",
            ]
        )

    @property
    def content(self) -> str:
        """Return the expression of a message's text."""
        return "message['content'] | trim" if self.format.strips else "message['content']"

    @property
    def has_pending_system(self) -> bool:
        """Tell whether the system text waits for the next question."""
        return SYSTEM in self.format.user

    def print(self, template: str, values: Mapping[str, str] | None = None) -> str:
        """Return what prints a template of the format."""
        parts = []
        for kind, text in self.format.pieces(template):
            if kind == "special":
                parts.append(self.special(text))
            elif text == SYSTEM:
                parts.append(self.pending_system())
            else:
                value = {CONTENT: self.content, **(values or {})}.get(text, _quoted(text))
                parts.append(self.text(value))
        return "".join(parts)

    def special(self, name: str) -> str:
        """Return what prints a special token."""
        if name == BOS and not self.has_bos:
            return ""
        token = {BOS: "bos_token", EOS: "eos_token"}.get(name, _quoted(name))
        mark = "{% set at.special = true %}" if self.writes_space else ""
        return f"{{{{ {token} }}}}{mark}"

    def text(self, expression: str) -> str:
        """Return what prints text, and before it the space that follows a special token."""
        if not self.writes_space:
            return f"{{{{ {expression} }}}}"
        space = "{{ ' ' if at.special and at.text else '' }}"
        done = "{% if at.text %}{% set at.special = false %}{% endif %}"
        return f"{{% set at.text = {expression} %}}{space}{{{{ at.text }}}}{done}"

    def system(self, content: str) -> str:
        """Return what prints a system text, or keeps it for the next question."""
        tools, look = "", self.format.tools
        if look is not None:
            tools = "{% if tools %}" + self.with_offer(look) + "{% endif %}"
        if content == '""' and not tools:
            return ""
        if self.has_pending_system:
            return f"{{% set at.system = {content} %}}{tools}"
        printed = self.print(self.format.system, {CONTENT: "at.system"})
        return (
            f"{{% set at.system = {content} %}}{tools}"
            f"{{% if at.system %}}{printed}{{% endif %}}{{% set at.system = '' %}}"
        )

    def with_offer(self, look: ToolFormat) -> str:
        """Return what puts the offer of tools beside the system text."""
        before, _, after = look.offer.partition("{tools}")
        listed = (
            f"{{% set at.text = {_quoted(before)} %}}{{% for tool in tools %}}"
            f"{{% set at.text = at.text + ({_quoted(look.between)} if not loop.first else '') "
            "+ (tool | tojson) %}{% endfor %}"
            f"{{% set at.text = at.text + {_quoted(after)} %}}"
        )
        gap = "('\\n\\n' if at.system else '')"
        parts = ["at.text", gap, "at.system"]
        if not look.is_offer_first:
            parts.reverse()
        return listed + f"{{% set at.system = {' + '.join(parts)} %}}"

    def pending_system(self) -> str:
        """Return what prints the system text inside a question, once."""
        before, _, after = self.format.system.partition(CONTENT)
        parts = [self.text(text) for text in (_quoted(before), "at.system", _quoted(after))]
        return f"{{% if at.system %}}{''.join(parts)}{{% set at.system = '' %}}{{% endif %}}"

    def result(self) -> str:
        """Return the branch of what a tool gave back."""
        look = self.format.tools
        if look is None:
            return ""
        opening, _, closing = look.turn.partition(CONTENT)
        opens, closes = self.print(opening), self.print(closing)
        if look.joins_results:
            follows = "loop.index0 > 0 and messages[loop.index0 - 1]['role'] == 'tool'"
            goes_on = "not loop.last and messages[loop.index0 + 1]['role'] == 'tool'"
            breaks = self.text("'\\n'")
            opens = f"{{% if {follows} %}}{breaks}{{% else %}}{opens}{{% endif %}}"
            closes = f"{{% if not ({goes_on}) %}}{closes}{{% endif %}}"
        printed = opens + self.print(look.result) + closes
        return "{% elif message['role'] == 'tool' %}" + printed

    def answer(self) -> str:
        """Return what prints an answer, its calls and its end."""
        format = self.format
        body, before = self.content, ""
        if format.tools is not None:
            body, before = "at.system", self.body(format.tools)
        printed = before + self.print(format.answer, {CONTENT: body})
        if format.tools is not None:
            printed += "{% set at.system = '' %}"
        end, final = self.print(format.end), self.print(format.final)
        if format.eos_after == "last":
            end, final = "", end + final
        return printed + end + (f"{{% if {OF_LAST} %}}{final}{{% endif %}}" if final else "")

    def body(self, look: ToolFormat) -> str:
        """Return what puts an answer's text and its calls into `at.system`."""
        values = {"{name}": "call['name']", "{arguments}": "at.text"}
        call = " + ".join(
            values[text] if kind == "slot" else _quoted(text) for kind, text in pieces(look.call)
        )
        content = f"({self.content}) if message['content'] else ''"
        return (
            f"{{% set at.system = {content} %}}"
            "{% if message['tool_calls'] is defined and message['tool_calls'] %}"
            "{% for item in message['tool_calls'] %}"
            "{% set call = item['function'] if item['function'] is defined else item %}"
            "{% if call['arguments'] is string %}{% set at.text = call['arguments'] %}"
            "{% else %}{% set at.text = call['arguments'] | tojson %}{% endif %}"
            f"{{% set at.system = at.system + ('\\n' if at.system else '') + {call} %}}"
            "{% endfor %}{% endif %}"
        )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
