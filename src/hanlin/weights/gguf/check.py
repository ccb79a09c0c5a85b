"""Does llama.cpp compute from a GGUF file what transformers computes from the model folder?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import StageFailedError
from hanlin.core.extras import require
from hanlin.core.files import size_bytes
from hanlin.core.records import Message
from hanlin.models.llama_server import LlamaServer, open_server
from hanlin.models.load import load_pair
from hanlin.models.text_loss import bits_per_byte, measure, text_windows
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.probe import PROBE
from hanlin.weights.calibration import PROSE
from hanlin.weights.gguf.arch import read_architecture
from hanlin.weights.gguf.vocab import chat_settings, prompt_format, read_vocabulary
from hanlin.weights.gguf.write import GgufFile

if TYPE_CHECKING:
    import torch

    from hanlin.prompts.format import PromptFormat
    from hanlin.tokenization.load import Tokenizer

TEXTS = (
    "The old bridge crosses the river; who built it?",
    "谁写了这本书？作者出生在北方的一座小城。",
    "A 混合 sentence：ＡＢＣ１２３, 3.14 and 🙂 — the end。",
    "  two  spaces\n\tand a line",
    "</s> is typed by a user",
)
WINDOW_TOKENS = 512  # as llama.cpp's own perplexity program takes
PROMPTS = 3  # of TEXTS are continued as well
QUESTIONS = ("Who wrote the book?", "这本书是谁写的？")
NEW_TOKENS = 32
TOP = 20  # most probable next tokens whose log-probabilities are compared
EXACT_TYPES = ("f32", "f16")  # rounding to f16 is far smaller than gaps between candidates
MIN_AGREEMENT = 0.95
MAX_EXACT_LOSS = 0.01
WARN_LOSS = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GgufCheck:
    """What llama.cpp made of a file.

    Attributes:
        size_bytes: of the file.
        token_ids_equal: all probe texts have the ids that our tokenizer gives.
        chat_ids_equal: the chat template gives the ids of training; None where there is none.
        greedy_agreement: share of greedy tokens that are those of transformers, each after the
            same prefix; None where the token ids already differ.
        max_logprob_difference: largest difference of the log-probabilities (nats) of the 20 most
            probable next tokens after each probe prompt; None as above.
        bits_per_byte_before: of the probe text, by transformers from the model folder in float32.
        bits_per_byte: of the same text, by llama.cpp from the file; None where token ids differ.
        kept_f16: tensors that stayed f16 in a quantized file.
        tensor_types: how many tensors are stored in which way.
    """

    size_bytes: int
    token_ids_equal: bool
    chat_ids_equal: bool | None
    greedy_agreement: float | None
    max_logprob_difference: float | None
    bits_per_byte_before: float | None = None
    bits_per_byte: float | None = None
    kept_f16: tuple[str, ...] = ()
    tensor_types: dict[str, int] = field(default_factory=dict)

    @property
    def loss(self) -> float | None:
        """Return by which share bits per byte grew: 0.01 is 1 % worse."""
        if self.bits_per_byte is None or not self.bits_per_byte_before:
            return None
        return round(self.bits_per_byte / self.bits_per_byte_before - 1, 5)

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self) | {"kept_f16": list(self.kept_f16), "loss": self.loss}


@dataclass(frozen=True)
class Reference:
    """What transformers says, computed once for all files of a model.

    Attributes:
        tokenizer: the model's.
        format: the prompt format it was tuned on, if any.
        prompts: token ids of the probe prompts.
        continuations: the greedy continuation of each.
        log_probs: for each prompt, id -> log-probability of the most probable next tokens.
        token_ids: our ids of TEXTS, as llama.cpp should make them.
        texts: what bits per byte are measured on.
        bits_per_byte: of them.
        context_length: tokens that llama.cpp must hold.
    """

    tokenizer: Tokenizer
    format: PromptFormat | None
    prompts: list[list[int]]
    continuations: list[list[int]]
    log_probs: list[dict[int, float]]
    token_ids: list[list[int]]
    texts: Sequence[str]
    bits_per_byte: float
    context_length: int


def make_reference(folder: Path, *, texts: Sequence[str] = PROSE) -> Reference:
    """Run the model folder in transformers, in float32.

    Args:
        folder: of the model.
        texts: what bits per byte are measured on.

    Raises:
        InputError: it is no model, or its parts do not belong together.
    """
    model, tokenizer = load_pair(folder)
    _trim_head(model, tokenizer)
    format = prompt_format(folder, tokenizer)
    has_prefix = read_vocabulary(folder, tokenizer).has_prefix
    chat = chat_settings(tokenizer, format, has_prefix=has_prefix)
    longest = read_architecture(folder).context_length
    prompts = [ids[: longest - NEW_TOKENS] for ids in _prompts(tokenizer, format)]
    return Reference(
        tokenizer=tokenizer,
        format=format if chat.template else None,
        prompts=prompts,
        continuations=[_continue(model, tokenizer, ids) for ids in prompts],
        log_probs=[_top_log_probs(model, ids) for ids in prompts],
        token_ids=[tokenizer.encode(text, at_start=chat.add_space_prefix) for text in TEXTS],
        texts=texts,
        bits_per_byte=measure(
            model, texts={"all": texts}, tokenizer=tokenizer, seq_len=min(longest, WINDOW_TOKENS)
        )["all"],
        context_length=min(longest, max(WINDOW_TOKENS, *map(len, prompts)) + 2 * NEW_TOKENS),
    )


def _trim_head(model: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401 - a PreTrainedModel
    """Take away the logits of padding rows, which a GGUF file does not have."""
    import torch

    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.data[: tokenizer.vocab_size])


def check_gguf(file: GgufFile, reference: Reference) -> GgufCheck:
    """Load a GGUF file by llama.cpp and compare it with the reference.

    Raises:
        InputError: llama.cpp cannot load it.
        MissingExtraError: xllamacpp is missing.
    """
    with open_server(file.path, context_length=reference.context_length) as server:
        is_equal = [server.tokenize(text) for text in TEXTS] == reference.token_ids
        check = GgufCheck(
            size_bytes=size_bytes(file.path),
            token_ids_equal=is_equal,
            chat_ids_equal=_is_chat_equal(server, reference) if reference.format else None,
            greedy_agreement=_greedy_agreement(server, reference) if is_equal else None,
            max_logprob_difference=_log_prob_difference(server, reference) if is_equal else None,
            bits_per_byte_before=round(reference.bits_per_byte, 5),
            bits_per_byte=_bits_per_byte(server, reference) if is_equal else None,
            kept_f16=file.kept_f16,
            tensor_types=file.tensor_types,
        )
    if check.loss is not None and check.loss > WARN_LOSS:
        log.warning(
            "as %s the model needs %.1f %% more bits per byte; types with more bits lose less, for "
            "example q5_k_m or q8_0", file.type, 100 * check.loss,
        )  # fmt: skip
    return check


def require_agreement(check: GgufCheck, *, file: Path, type: str) -> None:
    """Refuse a file that would answer otherwise than the model it was made from.

    Raises:
        StageFailedError: token ids differ, or an unquantized file picks other tokens.
    """
    fix = "use another type, or the model folder itself; and report it as a bug with this message"
    if not check.token_ids_equal:
        raise StageFailedError(
            f"llama.cpp splits text into other tokens than the model was trained with: {file}",
            why="the same text gave different token ids in the probe texts",
            fix=fix,
        )
    if check.chat_ids_equal is False:
        raise StageFailedError(
            f"the chat template in {file} gives llama.cpp another prompt than training did",
            why="a conversation gave different token ids",
            fix=fix,
        )
    agreement = check.greedy_agreement or 0.0
    if type in EXACT_TYPES and agreement < MIN_AGREEMENT:
        raise StageFailedError(
            f"llama.cpp with {file} picks other tokens than transformers: "
            f"{agreement:.1%} are equal",
            why=f"a file of the type {type} should agree on at least {MIN_AGREEMENT:.0%}",
            fix=fix,
        )
    if type in EXACT_TYPES and abs(check.loss or 0.0) > MAX_EXACT_LOSS:
        raise StageFailedError(
            f"llama.cpp with {file} needs {check.loss:+.1%} bits per byte of the probe text",
            why=f"a file of the type {type} should differ by at most {MAX_EXACT_LOSS:.0%}",
            fix=fix,
        )


def _prompts(tokenizer: Tokenizer, format: PromptFormat | None) -> list[list[int]]:
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    prompts = [begin + tokenizer.encode(text, at_start=True) for text in TEXTS[:PROMPTS]]
    if format is not None:
        chats = [[Message("user", question)] for question in QUESTIONS]
        prompts += [encode_prompt(chat, format=format, tokenizer=tokenizer) for chat in chats]
    return prompts


def _continue(model: Any, tokenizer: Tokenizer, prompt: Sequence[int]) -> list[int]:  # noqa: ANN401
    import torch

    input_ids = torch.tensor([list(prompt)])
    settings = require("transformers", extra="train", purpose="checking a GGUF file")
    greedy = settings.GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    with torch.inference_mode():
        output = model.generate(
            input_ids, attention_mask=torch.ones_like(input_ids), generation_config=greedy
        )
    ids: list[int] = output[0, len(prompt) :].tolist()
    return ids


def _top_log_probs(model: Any, prompt: Sequence[int]) -> dict[int, float]:  # noqa: ANN401
    import torch

    with torch.inference_mode():
        logits_V: torch.Tensor = model(input_ids=torch.tensor([list(prompt)])).logits[0, -1]
    top = logits_V.log_softmax(-1).topk(min(TOP, len(logits_V)))
    return dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))


def _greedy_agreement(server: LlamaServer, reference: Reference) -> float:
    pairs = list(zip(reference.prompts, reference.continuations, strict=True))
    agreeing = sum(_agreeing(server, prompt, wanted) for prompt, wanted in pairs)
    return round(agreeing / sum(len(wanted) for _, wanted in pairs), 4)


def _agreeing(server: LlamaServer, prompt: Sequence[int], wanted: Sequence[int]) -> int:
    """Count tokens that llama.cpp picks as well; after another choice it goes on from ours."""
    agreeing, position = 0, 0
    while position < len(wanted):
        rest = wanted[position:]
        found = server.greedy([*prompt, *wanted[:position]], max_new_tokens=len(rest))
        pairs = zip(rest, found, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(rest), len(found)))
        agreeing += same
        position += same + 1
    return agreeing


def _log_prob_difference(server: LlamaServer, reference: Reference) -> float:
    worst = 0.0
    for prompt, wanted in zip(reference.prompts, reference.log_probs, strict=True):
        found = server.next_log_probs(prompt, tokenizer=reference.tokenizer)
        worst = max(worst, *(abs(found[i] - value) for i, value in wanted.items()))
    return float(f"{worst:.3g}")


def _bits_per_byte(server: LlamaServer, reference: Reference) -> float:
    tokenizer, texts = reference.tokenizer, reference.texts
    seq_len = min(reference.context_length, WINDOW_TOKENS)
    windows = [
        window for text in texts for window in text_windows(text, tokenizer, seq_len=seq_len)
    ]
    nats = -sum(
        server.log_probability(ids[:end], ids[end], tokenizer=tokenizer)
        for ids in windows
        for end in range(1, len(ids))
    )
    return round(bits_per_byte(nats, sum(len(text.encode()) for text in texts)), 5)


def _is_chat_equal(server: LlamaServer, reference: Reference) -> bool:
    assert reference.format is not None
    messages = [Message(m.role, m.content.replace("</s>", "")) for m in PROBE.messages[:-1]]
    ours = encode_prompt(messages, format=reference.format, tokenizer=reference.tokenizer)
    text = server.chat_prompt([{"role": m.role, "content": m.content} for m in messages])
    return server.tokenize(text, with_special=True) == ours
