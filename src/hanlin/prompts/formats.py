"""Which prompt formats are there? One entry of data each; plug-ins: group `hanlin.prompts`."""

from __future__ import annotations

from hanlin.core.registry import LazyTable
from hanlin.prompts.format import PromptFormat

FORMATS = LazyTable(
    "prompt format",
    {
        "plain": "hanlin.prompts.formats:PLAIN",
        "alpaca": "hanlin.prompts.formats:ALPACA",
        "chinese-vicuna-chat": "hanlin.prompts.formats:CHINESE_VICUNA_CHAT",
    },
    group="hanlin.prompts",
)

PLAIN = PromptFormat(
    name="plain",
    summary="User: / Assistant: lines, end token after every answer.",
    user="User: {content}\n",
    assistant="Assistant:",
    answer=" {content}",
    stop_strings=("\nUser:",),
)

# Stanford Alpaca's template for instructions without input, as Chinese-Vicuna and KnowLM train it.
# An input is part of the instruction here (readers join them), so that one format fits every turn.
ALPACA = PromptFormat(
    name="alpaca",
    summary="Stanford Alpaca's ### Instruction: / ### Response: blocks.",
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
    system="{content}\n\n",
    user="### Instruction:\n{content}\n\n",
    assistant="### Response:\n",
    separator="\n\n",
    stop_strings=("\n### Instruction:",),
)

# Chinese-Vicuna's prompt for conversations. Its own training script put the loss on the last answer
# only; `loss_on: last` repeats that, the default trains every answer.
CHINESE_VICUNA_CHAT = PromptFormat(
    name="chinese-vicuna-chat",
    summary="Chinese-Vicuna's multi-turn chat, end token after the last answer only.",
    default_system=(
        "The following is a conversation between an AI assistant called Assistant and a human user "
        "called User. The assistant is intelligent, knowledgeable and polite to answer questions "
        "of user."
    ),
    system="{content}\n\n",
    user="User:{content}\n\n",
    assistant="Assistant:",
    separator="\n\n",
    eos_after="last",
    stop_strings=("\n\nUser:", "\n\nAssistant:"),
)


def get_format(name: str) -> PromptFormat:
    """Return a prompt format by its name.

    Raises:
        ConfigError: no format has that name.
    """
    found: PromptFormat = FORMATS.get(name)
    return found
