"""How is a small LLaMA made from nothing: for the quickstart's base model and for tests?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from hanlin.core.config import StrictModel
from hanlin.core.extras import require
from hanlin.models.save import save_model
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.tokenization.train import train_sentencepiece

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_SIZE = 16  # of make_tiny


class Architecture(StrictModel):
    """The shape of a LLaMA."""

    hidden_size: int = Field(256, ge=8)
    """Width of the residual stream."""
    intermediate_size: int | None = Field(None, ge=8)
    """Width of the feed-forward layer; None: 8/3 of hidden_size, rounded up to 32."""
    layers: int = Field(4, ge=1)
    """Number of decoder layers."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    kv_heads: int | None = Field(None, ge=1)
    """Key and value heads; None: as many as heads."""
    max_length: int = Field(1024, ge=8)
    """Longest sequence, in tokens."""
    rope_theta: float = Field(10_000.0, gt=0)
    """Base of the rotary position embedding."""
    tie_embeddings: bool = False
    """Use one matrix for embeddings and lm_head."""

    @model_validator(mode="after")
    def _check(self) -> Architecture:
        if self.hidden_size % self.heads or (self.hidden_size // self.heads) % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} over heads {self.heads} must be an even number; "
                "change one of the two"
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(
                f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}; "
                "change one of the two"
            )
        return self

    @property
    def feed_forward_size(self) -> int:
        """Return intermediate_size, or what None stands for."""
        return self.intermediate_size or -(-self.hidden_size * 8 // (3 * 32)) * 32


def new_llama(architecture: Architecture, vocab_size: int, seed: int) -> PreTrainedModel:
    """Return a LLaMA with random float32 weights that depend on the seed alone, in eval mode.

    Token ids of its config are LLaMA's (bos 1, eos 2, padding 0); `save_model` sets a tokenizer's.
    """
    torch = require("torch", extra="train", purpose="making a model")
    transformers = require("transformers", extra="train", purpose="making a model")
    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.feed_forward_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads or architecture.heads,
        max_position_embeddings=architecture.max_length,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        tie_word_embeddings=architecture.tie_embeddings,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(config)
    return model.float().eval()


def make_tiny(  # noqa: PLR0913 - every argument but the folder has a default
    out: Path,
    *,
    texts: Iterable[str] | None = None,
    vocab_size: int = 400,
    hidden_size: int = 32,
    layers: int = 2,
    seed: int = 0,
    tie: bool = False,
) -> Path:
    """Make a real tiny LLaMA with a real tokenizer, untrained, in a few hundredths of a second.

    Args:
        out: the folder.
        texts: what the tokenizer is trained on; None: a few English and Chinese sentences.
        vocab_size: entries wanted; a small corpus gives fewer.
        hidden_size: a multiple of 16.
        layers: decoder layers.
        seed: of the weights.
        tie: one matrix for embeddings and lm_head.
    """
    train_sentencepiece(texts or SAMPLE_TEXTS, vocab_size=vocab_size, out=out, seed=seed)
    tokenizer = load_tokenizer(out)
    architecture = Architecture(
        hidden_size=hidden_size, layers=layers, heads=max(1, hidden_size // HEAD_SIZE),
        max_length=512, tie_embeddings=tie,
    )  # fmt: skip
    return save_model(new_llama(architecture, tokenizer.vocab_size, seed), tokenizer, out)


SAMPLE_TEXTS = (
    "The river runs through the old town, and the old bridge crosses the river.",
    "Who wrote the book? The teacher wrote the book in the year 1912.",
    "The company was founded by two brothers; it makes lamps, clocks and paper.",
    "User: Where was the painter born?\nAssistant: The painter was born in the northern town.",
    "She said that the festival is held every third year, when the lanterns are lit.",
    "河流穿过古城，古桥横跨河流。",
    "这本书是谁写的？这本书是老师写的。",
    "公司由两兄弟创立，生产灯、钟和纸。",
    "画家出生在北方的古城。",
)
