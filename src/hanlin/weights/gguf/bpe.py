"""How is a byte-level BPE tokenizer, as LLaMA 3 and Qwen have it, told to llama.cpp?

llama.cpp knows the rules that cut text into words by the names of the models that brought them.
So the rule in `tokenizer.json` has to be one of those, character by character.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.tokenization import backend, sentencepiece
from hanlin.weights.gguf.spm import Vocabulary, added_entries

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

Step = tuple[str, object]

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3: Step = ("split", _WORDS.replace("DIGITS", r"\p{N}{1,3}"))
_QWEN2: Step = ("split", _WORDS.replace("DIGITS", r"\p{N}"))
_BYTES: Step = ("bytes", False)
_GPT2: Step = ("bytes", True)  # ByteLevel's own expression

# Steps of a pre-tokenizer -> (llama.cpp's name, whether words that are entries are not merged);
# llama.cpp, src/llama-vocab.cpp, 2026.
SPLITTERS: dict[tuple[Step, ...], tuple[tuple[str, bool], ...]] = {
    (_LLAMA3, _BYTES): (("llama-bpe", True), ("smaug-bpe", False)),
    (_QWEN2, _BYTES): (("qwen2", False),),
    (("split", _TEKKEN), _BYTES): (("tekken", True),),
    (_GPT2,): (("gpt-2", False),),
    (("digits", True), _GPT2): (("smollm", False),),
}


def byte_level_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a byte-level BPE tokenizer, extended or not.

    Raises:
        InputError: llama.cpp has no name for the way it cuts or normalizes text.
    """
    content = tokenizer.content
    _refuse_other_rules(tokenizer)
    plain = backend.plain(content, with_prefix=False)["model"]
    added = {token["id"] for token in content.get("added_tokens", ())}
    texts = {index: text for text, index in content["model"]["vocab"].items() if index not in added}
    others = added_entries(tokenizer, (i for i in range(tokenizer.vocab_size) if i not in texts))
    own = {index: (text.encode(), sentencepiece.NORMAL) for index, text in texts.items()}
    entries = [entry for _, entry in sorted((own | others).items())]
    unknown = content["model"].get("unk_token")
    return Vocabulary(
        model="gpt2",
        splitter=splitter_name(tokenizer),
        pieces=[text for text, _ in entries],
        types=[kind for _, kind in entries],
        scores=[],
        merges=[" ".join(pair) for pair in plain["merges"]],
        unknown_id=tokenizer.vocabulary.get(unknown) if unknown else None,
        has_prefix=False,
    )


def splitter_name(tokenizer: Tokenizer) -> str:
    """Return llama.cpp's name of the rule by which a tokenizer cuts text into words.

    Raises:
        InputError: it has none.
    """
    content = tokenizer.content
    steps = tuple(_steps(content.get("pre_tokenizer")))
    is_whole = bool(content["model"].get("ignore_merges"))
    names = SPLITTERS.get(steps, ())
    for name, takes_whole in names:
        if takes_whole == is_whole:
            return name
    if names and _merges_make_every_entry(content):  # then both ways give the same
        return names[0][0]
    known = ", ".join(name for group in SPLITTERS.values() for name, _ in group)
    what = f"ignore_merges {is_whole}" if names else f"the pre_tokenizer {_shown(steps)}"
    raise InputError(
        f"the tokenizer in {tokenizer.path} cuts text in a way that llama.cpp has no name for: "
        f"{what}",
        why=f"a GGUF file names the rule, and these are written here: {known}",
        fix="use the model with transformers; or convert it by convert_hf_to_gguf.py of "
        "llama.cpp, which knows more of them",
    )


def _steps(pre_tokenizer: dict[str, Any] | None) -> Iterator[Step]:
    """Yield what a pre-tokenizer does, without what makes no difference."""
    if pre_tokenizer is None:
        return
    for step in pre_tokenizer.get("pretokenizers", [pre_tokenizer]):
        kind = step["type"]
        if kind == "Split" and step["behavior"] == "Isolated" and not step.get("invert"):
            yield "split", step["pattern"].get("Regex", step["pattern"])
        elif kind == "Digits":
            yield "digits", step["individual_digits"]
        elif kind == "ByteLevel" and not step["add_prefix_space"]:
            yield "bytes", step.get("use_regex", True)
        else:
            yield kind, step


def _shown(steps: tuple[Step, ...]) -> str:
    text = "; ".join(f"{kind} {value!r}" for kind, value in steps) or "None"
    return text if len(text) <= 200 else text[:200] + "..."


def _refuse_other_rules(tokenizer: Tokenizer) -> None:
    """Refuse what llama.cpp leaves out. It leaves out Qwen's NFC too, which few texts need."""
    content = tokenizer.content
    normalizer, model = content.get("normalizer"), content["model"]
    names = ("continuing_subword_prefix", "end_of_word_suffix", "dropout")
    wrong = [f"{name} {model[name]!r}" for name in names if model.get(name)]
    if normalizer is not None and normalizer["type"] != "NFC":
        wrong.append(f"the normalizer {normalizer['type']}")
    if wrong:
        raise InputError(
            f"the tokenizer in {tokenizer.path} has {wrong[0]}",
            why="llama.cpp would leave that out and make other token ids",
            fix="use the model with transformers",
        )


def _merges_make_every_entry(content: dict[str, Any]) -> bool:
    """Tell whether taking a word that is an entry as a whole ever differs from merging it."""
    plain = backend.plain(content, with_prefix=False)
    model = backend.build({**plain, "model": {**plain["model"], "ignore_merges": False}}).model
    special = backend.special_tokens(content)
    return all(
        [token.id for token in model.tokenize(text)] == [index]
        for text, index in plain["model"]["vocab"].items()
        if text not in special
    )
