"""Small real tokenizers that have every marker of the prompt formats, for the tests of prompts."""

import json

from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import from_model, load
from hanlin.tokenization.pieces import with_special_tokens

MARKERS = sorted({marker for name in FORMATS for marker in get_format(name).markers})
STYLES = ("sentencepiece", "llama3", "qwen2")
TEXTS = (
    *SAMPLE_TEXTS,
    *(json.dumps({"user": text, "assistant": ["answer"]}) for text in SAMPLE_TEXTS),
    "### Instruction:\n### Response:\n\nUser: Assistant: Human: \nsystem\nuser\nassistant\n\n",
)


def make_tokenizer(folder, style):
    """Return a tokenizer: SentencePiece as LLaMA has it, or byte-level as LLaMA 3 or Qwen."""
    if style == "sentencepiece":
        base = load(make_tiny(folder))
        model = sentencepiece.parse_model(base.spm_model, name="tiny")
        model, _, _ = with_special_tokens(model, MARKERS, pad_to_multiple=1)
        return from_model(model, settings=base.settings, path=folder)
    return load(
        train_byte_bpe(TEXTS, vocab_size=600, out=folder, style=style, special_tokens=MARKERS)
    )
