"""Folders in Meta's layout and what Meta's code computes from them, written without Hanlin.

The forward pass follows the formulas of Meta's model.py (llama-models): neighbors of a head are
rotated as complex numbers.
"""

import json
import math

import torch

BY_ROWS, BY_COLUMNS = ("wq", "wk", "wv", "w1", "w3", "output"), ("wo", "w2")


def params_of(**changes):
    params = {"dim": 64, "n_layers": 2, "n_heads": 8, "n_kv_heads": 4, "vocab_size": 96}
    params |= {"multiple_of": 32, "norm_eps": 1e-5}
    return {key: value for key, value in (params | changes).items() if value is not None}


def state_of(params, *, dtype=torch.float32, seed=0, frequencies=None):
    """Return whole tensors by Meta's names; norms around one, matrices small."""
    generator = torch.Generator().manual_seed(seed)
    dim, heads = params["dim"], params["n_heads"]
    keys = params.get("n_kv_heads", heads) * dim // heads
    wide = int(params.get("ffn_dim_multiplier", 1) * int(8 * dim / 3))
    wide = -(-wide // params["multiple_of"]) * params["multiple_of"]
    shapes = {"tok_embeddings": (params["vocab_size"], dim)}
    for layer in range(params["n_layers"]):
        parts = {
            "attention.wq": (dim, dim), "attention.wk": (keys, dim), "attention.wv": (keys, dim),
            "attention.wo": (dim, dim), "feed_forward.w1": (wide, dim),
            "feed_forward.w2": (dim, wide), "feed_forward.w3": (wide, dim),
            "attention_norm": (dim,), "ffn_norm": (dim,),
        }  # fmt: skip
        shapes |= {f"layers.{layer}.{part}": shape for part, shape in parts.items()}
    shapes |= {"norm": (dim,), "output": (params["vocab_size"], dim)}
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator) * 0.1
        state[f"{name}.weight"] = (values + (len(shape) == 1)).to(dtype)
    freqs = 1.0 / 10_000.0 ** (torch.arange(0, dim // heads, 2).float() / (dim // heads))
    names = {None: [], "model": ["rope.freqs"]}.get(frequencies)
    if names is None:
        layers = range(params["n_layers"])
        names = [f"layers.{i}.attention.inner_attention.rope.freqs" for i in layers]
    return state | {name: freqs.to(dtype) for name in names}


def cut(state, shards, *, embeddings=1):
    """Return what each file holds; `embeddings` is the dimension along which they are cut."""
    parts = [{} for _ in range(shards)]
    for name, tensor in state.items():
        kind = name.split(".")[-2]
        dimension = 0 if kind in BY_ROWS else 1 if kind in BY_COLUMNS else None
        dimension = embeddings if kind == "tok_embeddings" else dimension
        pieces = [tensor] * shards if dimension is None else tensor.chunk(shards, dim=dimension)
        for part, piece in zip(parts, pieces, strict=True):
            part[name] = piece.clone()
    return parts


def write_meta_folder(folder, params, state, *, shards=1, embeddings=1):
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    for number, part in enumerate(cut(state, shards, embeddings=embeddings)):
        torch.save(part, folder / f"consolidated.{number:02d}.pth")
    return folder


def read_shards(folder):
    files = sorted(folder.glob("consolidated.*.pth"))
    return [torch.load(file, weights_only=True, mmap=True) for file in files]


def same_bits(left, right):
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.contiguous().view(torch.uint8).equal(right.contiguous().view(torch.uint8))
    )


def forward(params, state, ids, *, factor=8.0):
    """Return the logits of a row of ids, in float32."""
    dim, heads = params["dim"], params["n_heads"]
    kv_heads, size = params.get("n_kv_heads", heads), dim // heads
    state = {name: tensor.float() for name, tensor in state.items()}
    turns = _turns(params, size, len(ids), factor)
    hidden = state["tok_embeddings.weight"][torch.tensor(ids)]
    for layer in range(params["n_layers"]):
        part = {n.split(".", 2)[2]: t for n, t in state.items() if n.startswith(f"layers.{layer}.")}
        normed = _norm(hidden, part["attention_norm.weight"], params["norm_eps"])
        query = _rotate((normed @ part["attention.wq.weight"].T).view(-1, heads, size), turns)
        key = _rotate((normed @ part["attention.wk.weight"].T).view(-1, kv_heads, size), turns)
        value = (normed @ part["attention.wv.weight"].T).view(-1, kv_heads, size)
        key, value = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (key, value))
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(size)
        scores += torch.full(scores.shape[1:], -torch.inf).triu(1)
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).reshape(len(ids), dim)
        hidden = hidden + mixed @ part["attention.wo.weight"].T
        normed = _norm(hidden, part["ffn_norm.weight"], params["norm_eps"])
        gate = torch.nn.functional.silu(normed @ part["feed_forward.w1.weight"].T)
        wide = gate * (normed @ part["feed_forward.w3.weight"].T)
        hidden = hidden + wide @ part["feed_forward.w2.weight"].T
    return _norm(hidden, state["norm.weight"], params["norm_eps"]) @ state["output.weight"].T


def _norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def _turns(params, size, length, factor):
    freqs = 1.0 / params.get("rope_theta", 10_000.0) ** (torch.arange(0, size, 2).float() / size)
    if params.get("use_scaled_rope"):
        freqs = torch.tensor([_scaled(freq.item(), factor) for freq in freqs])
    angles = torch.outer(torch.arange(length).float(), freqs)
    return torch.polar(torch.ones_like(angles), angles)


def _scaled(freq, factor):
    """Return a frequency as LLaMA-3.1 scales it for contexts beyond 8192."""
    wave = 2 * math.pi / freq
    if wave < 8192 / 4:
        return freq
    if wave > 8192:
        return freq / factor
    smooth = (8192 / wave - 1) / 3
    return (1 - smooth) * freq / factor + smooth * freq


def _rotate(x, turns):
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns[:, None]).flatten(2)
