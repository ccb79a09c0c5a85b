"""Which prompt formats are there? One entry of data each; plug-ins: group `hanlin.prompts`."""

from __future__ import annotations

from dataclasses import replace

from hanlin.core.registry import LazyTable
from hanlin.prompts.format import PromptFormat, ToolFormat

FORMATS = LazyTable(
    "prompt format",
    {
        "plain": "hanlin.prompts.formats:PLAIN",
        "alpaca": "hanlin.prompts.formats:ALPACA",
        "alpaca-knowlm": "hanlin.prompts.formats:ALPACA_KNOWLM",
        "alpaca-knowlm-qlora": "hanlin.prompts.formats:ALPACA_KNOWLM_QLORA",
        "chinese-vicuna-instruct": "hanlin.prompts.formats:CHINESE_VICUNA_INSTRUCT",
        "chinese-vicuna-chat": "hanlin.prompts.formats:CHINESE_VICUNA_CHAT",
        "cutegpt": "hanlin.prompts.formats:CUTEGPT",
        "cutegpt-en": "hanlin.prompts.formats:CUTEGPT_EN",
        "cutegpt-train": "hanlin.prompts.formats:CUTEGPT_TRAIN",
        "belle": "hanlin.prompts.formats:BELLE",
        "oneke": "hanlin.prompts.formats:ONEKE",
        "vicuna": "hanlin.prompts.formats:VICUNA",
        "llama2": "hanlin.prompts.formats:LLAMA2",
        "llama3": "hanlin.prompts.formats:LLAMA3",
        "chatml": "hanlin.prompts.formats:CHATML",
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

# Stanford Alpaca's texts with the line break behind `### Response:` that alpaca-lora put there, as
# Chinese-Vicuna's finetune.py trains them; Stanford's own train.py has none.
ALPACA = PromptFormat(
    name="alpaca",
    summary="Stanford Alpaca's ### Instruction: / ### Input: / ### Response: blocks.",
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
    input_system=(
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request."
    ),
    system="{content}\n\n",
    user="### Instruction:\n{content}\n\n",
    input_user="### Instruction:\n{content}\n\n### Input:\n{input}\n\n",
    assistant="### Response:\n",
    separator="\n\n",
    stop_strings=("\n### Instruction:",),
)

# KnowLM's LoRA script (templates/alpaca.json) is the same text; its QLoRA script ends with a space
# where that has a line break, so that adapters of the two need different prompts.
ALPACA_KNOWLM = replace(ALPACA, name="alpaca-knowlm", summary="Alpaca as KnowLM's LoRA trains it.")
ALPACA_KNOWLM_QLORA = replace(
    ALPACA,
    name="alpaca-knowlm-qlora",
    summary="Alpaca as KnowLM's QLoRA trains it: a space behind ### Response:.",
    assistant="### Response:",
    answer=" {content}",
)

# Chinese-Vicuna's prompt.py, class instruct_prompt: no line break behind any heading where there is
# an input, nor behind `### Response:`. (Its finetune.py is `alpaca` here.)
CHINESE_VICUNA_INSTRUCT = replace(
    ALPACA,
    name="chinese-vicuna-instruct",
    summary="Chinese-Vicuna's instruct prompt of prompt.py, no line break behind ### Response:.",
    input_user="### Instruction:{content}\n\n### Input:{input}\n\n",
    assistant="### Response:",
)

# Chinese-Vicuna's prompt.py, class chat_prompt. Its own training script put the loss on the last
# answer only; `loss_on: last` repeats that, the default trains every answer.
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

# CuteGPT's prompt as its inference script sends it: no begin token, a line break and no `<end>`
# behind earlier answers. Its training script chained turns without the line break and with `<end>`
# behind every answer, and one end token at last: that is `cutegpt-train`.
CUTEGPT = PromptFormat(
    name="cutegpt",
    summary="CuteGPT's 问：/ 答： as its inference sends it, <end> after the last answer.",
    default_system=(
        "你是复旦大学知识工场实验室训练出来的语言模型CuteGPT。给定任务描述，请给出对应请求的回答。"
    ),
    system="{content}\n",
    user="问：{content}\n",
    assistant="答：\n",
    separator="\n",
    is_bos_first=False,
    end="<end>",
    eos_after="last",
    markers=("<end>",),
    stop_strings=("\n问：",),
)
CUTEGPT_TRAIN = replace(
    CUTEGPT,
    name="cutegpt-train",
    summary="CuteGPT's 问：/ 答： as its training shows it, <end> after every answer.",
    separator="",
    eos_after="every",
    final="{eos}",
)
# The one English template of its training script, without the `\Response` (a lost `n`) in it.
CUTEGPT_EN = replace(
    CUTEGPT,
    name="cutegpt-en",
    summary="CuteGPT's Instruction: / Response:, <end> after the last answer.",
    user="Instruction:{content}\n",
    assistant="Response:\n",
    stop_strings=("\nInstruction:",),
)

# LianjiaTech/BELLE, train/src/sample_generator.py (sft_sample_to_ids): no begin token, a space
# behind both colons, the end token after every answer.
BELLE = PromptFormat(
    name="belle",
    summary="BELLE's Human: / Assistant: blocks, end token after every answer.",
    user="Human: \n{content}\n\n",
    assistant="Assistant: \n",
    system="{content}\n\n",
    is_bos_first=False,
    stop_strings=("\nHuman: \n",),
)

# lm-sys/FastChat, fastchat/conversation.py: template "vicuna_v1.1", separator style ADD_COLON_TWO,
# sep " ", sep2 "</s>".
VICUNA = PromptFormat(
    name="vicuna",
    summary="Vicuna 1.1's USER: / ASSISTANT:, end token after every answer.",
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions."
    ),
    system="{content} ",
    user="USER: {content} ",
    assistant="ASSISTANT:",
    answer=" {content}",
    stop_strings=("\nUSER:",),
)

# meta-llama/llama, llama/generation.py (chat_completion): the system text stands in the first
# question, every question begins with the begin token, every answer ends with a space and the end
# token, and white space around messages is taken away.
LLAMA2 = PromptFormat(
    name="llama2",
    summary="LLaMA 2 Chat's [INST] and <<SYS>>.",
    system="<<SYS>>\n{content}\n<</SYS>>\n\n",
    user="{bos}[INST] {system}{content}",
    assistant=" [/INST]",
    answer=" {content} ",
    is_bos_first=False,
    strips=True,
    stop_strings=("[INST]",),
)

# zjunlp/DeepKE, example/llm (OneKE, IEPile): LLaMA 2's prompt with a fixed system text around an
# instruction in JSON. (The quick start of OneKE leaves the space before [/INST] out.)
ONEKE = replace(
    LLAMA2,
    name="oneke",
    summary="OneKE's extraction prompt: LLaMA 2's with its own system text.",
    default_system="You are a helpful assistant. 你是一个乐于助人的助手。",
)

# meta-llama/llama3, llama/tokenizer.py (ChatFormat). Tools as the chat template of Llama 3.1 has
# them; results come from `ipython` (meta-llama/llama-models, llama3_3/prompt_format.md).
LLAMA3 = PromptFormat(
    name="llama3",
    summary="LLaMA 3's headers, <|eot_id|> after every message; tools.",
    system="<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
    assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
    end="<|eot_id|>",
    markers=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    strips=True,
    tools=ToolFormat(
        offer=(
            "You have access to the following functions. To call a function, please respond with "
            'JSON for a function call. Respond in the format {"name": function name, "parameters": '
            "dictionary of argument name and its value}. Do not use variables.\n\n{tools}"
        ),
        is_offer_first=True,
        between="\n\n",
        call='{"name": "{name}", "parameters": {arguments}}',
        turn="<|start_header_id|>ipython<|end_header_id|>\n\n{content}<|eot_id|>",
    ),
)

# OpenAI's ChatML; tools as the chat templates of Qwen2.5 and Qwen3 have them, without Qwen's own
# default system text.
CHATML = PromptFormat(
    name="chatml",
    summary="<|im_start|> and <|im_end|>, as Qwen; tools.",
    system="<|im_start|>system\n{content}<|im_end|>\n",
    user="<|im_start|>user\n{content}<|im_end|>\n",
    assistant="<|im_start|>assistant\n",
    end="<|im_end|>",
    separator="\n",
    markers=("<|im_start|>", "<|im_end|>"),
    tools=ToolFormat(
        offer=(
            "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            "You are provided with function signatures within <tools></tools> XML tags:\n"
            "<tools>\n{tools}\n</tools>\n\nFor each function call, return a json object with "
            "function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
            '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
        ),
        call='<tool_call>\n{"name": "{name}", "arguments": {arguments}}\n</tool_call>',
        result="<tool_response>\n{content}\n</tool_response>",
        turn="<|im_start|>user\n{content}<|im_end|>\n",
        joins_results=True,
    ),
)


def get_format(name: str) -> PromptFormat:
    """Return a prompt format by its name.

    Raises:
        ConfigError: no format has that name.
    """
    found: PromptFormat = FORMATS.get(name)
    return found
