"""How does another tool turn rows into tokens? Run by benchmarks/data.py in the tool's own venv.

    python benchmarks/data_peers.py TOOL KIND FILE TOKENIZER PROCESSES FOLDER

TOOL is bare, map, trl or llamafactory; KIND is corpus (rows with "text") or chat (alpaca rows).
Prints one JSON line: seconds without imports, rows, tokens, tokens in rows of 1,024, such rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SEQ_LEN, BATCH = 1024, 8
NO_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)


def prompt(row: dict[str, str]) -> str:
    """Return the prompt of an alpaca row."""
    return (WITH_INPUT if row["input"] else NO_INPUT).format(**row)


def bare(kind: str, file: Path, tokenizer: Path, _processes: int, _folder: Path) -> dict[str, Any]:
    """Encode every text with SentencePiece in one thread, and do nothing else."""
    import sentencepiece

    def texts(row: dict[str, str]) -> list[str]:
        return [row["text"]] if kind == "corpus" else [prompt(row), row["output"]]

    processor = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / "tokenizer.model"))
    seconds, rows, tokens = 0.0, 0, 0
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            parts = texts(json.loads(line))
            started = time.perf_counter()
            tokens += sum(len(processor.encode(text)) for text in parts) + 2
            seconds += time.perf_counter() - started
            rows += 1
    return {"seconds": seconds, "rows": rows, "tokens": tokens}


def plain_map(
    kind: str, file: Path, tokenizer: Path, processes: int, _folder: Path
) -> dict[str, Any]:
    """Call the tokenizer in `datasets.map`, a thousand rows at a time."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    hf = AutoTokenizer.from_pretrained(tokenizer)

    def corpus(rows: dict[str, list[str]]) -> dict[str, Any]:
        ids = hf(rows["text"], add_special_tokens=False)["input_ids"]
        return {"input_ids": [[hf.bos_token_id, *own, hf.eos_token_id] for own in ids]}

    def chat(rows: dict[str, list[str]]) -> dict[str, Any]:
        names = ("instruction", "input")
        pairs = (
            dict(zip(names, pair, strict=True))
            for pair in zip(*(rows[n] for n in names), strict=True)
        )
        starts = hf([prompt(pair) for pair in pairs], add_special_tokens=False)["input_ids"]
        ends = hf(rows["output"], add_special_tokens=False)["input_ids"]
        both = list(zip(starts, ends, strict=True))
        ids = [[hf.bos_token_id, *start, *end, hf.eos_token_id][:SEQ_LEN] for start, end in both]
        labels = [[-100] * (len(start) + 1) + [*end, hf.eos_token_id] for start, end in both]
        return {"input_ids": ids, "labels": [own[:SEQ_LEN] for own in labels]}

    started = time.perf_counter()
    data = load_dataset("json", data_files=str(file), split="train")
    function = corpus if kind == "corpus" else chat
    data = data.map(
        function, batched=True, num_proc=processes if processes > 1 else None,
        remove_columns=data.column_names,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    lengths = [len(own) for own in data["input_ids"]]
    if kind == "corpus":  # what does not fit is cut off, what is short is padded
        used, packed = sum(min(length, SEQ_LEN) for length in lengths), len(lengths) * SEQ_LEN
    else:  # rows of a batch are as long as the longest
        batches = [lengths[i : i + BATCH] for i in range(0, len(lengths), BATCH)]
        used, packed = sum(lengths), sum(len(batch) * max(batch) for batch in batches)
    return {
        "seconds": seconds,
        "rows": len(lengths),
        "tokens": sum(lengths),
        "useful": used / packed,
    }


def trl(kind: str, file: Path, tokenizer: Path, processes: int, folder: Path) -> dict[str, Any]:
    """Let TRL's SFTTrainer prepare the rows, with its best-fit packing."""
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    hf = AutoTokenizer.from_pretrained(tokenizer)
    shape = LlamaConfig(
        vocab_size=len(hf), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1,
    )  # fmt: skip
    settings = SFTConfig(
        output_dir=str(folder), packing=True, max_length=SEQ_LEN, report_to=[], use_cpu=True,
        dataset_num_proc=processes if processes > 1 else None, bf16=False,
    )  # fmt: skip
    model = LlamaForCausalLM(shape)
    started = time.perf_counter()
    data = load_dataset("json", data_files=str(file), split="train")
    rows = len(data)
    if kind == "chat":
        data = data.map(
            lambda row: {"prompt": prompt(row), "completion": row["output"]},
            remove_columns=data.column_names,
        )
    trainer = SFTTrainer(model=model, args=settings, train_dataset=data, processing_class=hf)
    seconds = time.perf_counter() - started
    tokens = sum(len(own) for own in trainer.train_dataset["input_ids"])
    useful = tokens / (len(trainer.train_dataset) * SEQ_LEN)
    return {"seconds": seconds, "rows": rows, "tokens": tokens, "useful": useful}


def llamafactory(
    kind: str, file: Path, tokenizer: Path, processes: int, folder: Path
) -> dict[str, Any]:
    """Let LLaMA-Factory prepare the rows, packed."""
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import AutoTokenizer, Seq2SeqTrainingArguments

    columns = {"prompt": "text"} if kind == "corpus" else None
    entry = {"file_name": str(file)} | ({"columns": columns} if columns else {})
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    hf = AutoTokenizer.from_pretrained(tokenizer)
    data_args = DataArguments(
        dataset="rows", dataset_dir=str(folder), cutoff_len=SEQ_LEN, packing=True,
        template="alpaca", preprocessing_num_workers=processes, overwrite_cache=True,
    )  # fmt: skip
    data_args.neat_packing = True
    template = get_template_and_fix_tokenizer(hf, data_args)
    training = Seq2SeqTrainingArguments(
        output_dir=str(folder), do_train=True, use_cpu=True, report_to=[]
    )
    stage = "pt" if kind == "corpus" else "sft"
    started = time.perf_counter()
    module = get_dataset(
        template,
        ModelArguments(model_name_or_path=str(tokenizer)),
        data_args,
        training,
        stage,
        tokenizer=hf,
    )
    data = module["train_dataset"]
    seconds = time.perf_counter() - started
    pad = hf.pad_token_id
    tokens = sum(sum(id_ != pad for id_ in own) for own in data["input_ids"])
    rows = sum(1 for _ in file.open(encoding="utf-8"))
    return {
        "seconds": seconds,
        "rows": rows,
        "tokens": tokens,
        "useful": tokens / (len(data) * SEQ_LEN),
    }


TOOLS = {"bare": bare, "map": plain_map, "trl": trl, "llamafactory": llamafactory}


def main() -> None:
    """Run one tool on one file."""
    tool, kind, file, tokenizer, processes, folder = sys.argv[1:]
    os.environ |= {
        "TOKENIZERS_PARALLELISM": "false",  # a process has one core, as with Hanlin
        "HF_DATASETS_CACHE": folder,
        "HF_HUB_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",
    }
    done = TOOLS[tool](kind, Path(file), Path(tokenizer), int(processes), Path(folder))
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
