"""What lies in the folder where the book is read? A small run of everything, and small data.

The names are those of the pages. `quickstart` is the package's recipe with smaller numbers: a file
of that name in the folder goes before the one in the package. All texts are of the sample world.
"""

import csv
import json
import shutil
from pathlib import Path

from book_session import Commands
from exam_world import World as Exams
from hanlin.core.records import Message
from hanlin.inference.engine import Sampling
from hanlin.inference.saved_talk import Said, SavedTalk
from hanlin.pipeline.recipe import find_recipe, load_recipe
from hanlin.tokenization.train import train_sentencepiece

SMALL = [
    "world.people=12",
    "world.rounds=6",
    "world.extraction_train=24",
    "world.extraction_test=4",
    "base.vocab_size=420",
    "base.architecture={hidden_size: 32, layers: 2, heads: 2, max_length: 512}",
    "base.schedule={steps: 6, seq_len: 128, micro_batch_size: 4, probe_every: 6, threads: 1}",
    "tokenizer.add=200",
    "pretrain.schedule={steps: 6, seq_len: 128, micro_batch_size: 4, probe_every: 6, threads: 1}",
    "finetune.schedule={steps: 6, seq_len: 256, micro_batch_size: 4, probe_every: 6, threads: 1}",
    "evaluate.max_new_tokens=8",
    "evaluate.benchmarks=[{id: four-zh, benchmark: questions, language: zh, limit: 8, "
    "label: Four options, data: '@world/questions/four-zh.jsonl'}]",
    "export.types=[q8_0]",
]
RUNS = """
hanlin run quickstart
hanlin run chinese-vicuna-7b --tiny
"""
STORES = """
hanlin data prepare chat --sources '[{path: alpaca.json, name: a}]' --tokenizer base --out first
hanlin data prepare chat --sources '[{path: chat.jsonl, name: b}]' --tokenizer base --out second
"""
CHAT = "sources: [{path: alpaca.json, name: alpaca}]\ntokenizer: extended\nprompt: alpaca\n"
GRAPH = "三体\t作者\t刘慈欣\n潮声\t作者\t王明华\n王明华\t出生地\t青石镇\n"
SUBJECTS = (
    "law",
    "advanced_mathematics",
    "marxism",
    "accountant",
)  # one of each category of C-Eval


def make_world(commands: Commands, folder: Path) -> Path:
    """Make the folder; it takes half a minute."""
    folder.mkdir()
    small = load_recipe(find_recipe("quickstart"), changes=SMALL).text
    (folder / "quickstart").write_text(small, encoding="utf-8")
    commands.shell(RUNS, folder)
    run = folder / "runs" / "quickstart"
    shutil.copytree(run / "base" / "model", folder / "base")
    write_texts(folder, run / "world")
    write_conversations(folder, run / "world")
    write_exams(folder)
    for name in ("triples.tsv", "aliases.tsv"):
        shutil.copy(run / "world" / "graph" / name, folder)
    with (folder / "triples.tsv").open("a", encoding="utf-8") as triples:
        triples.write(GRAPH)
    commands.shell(STORES, folder)
    return folder


def write_texts(folder: Path, world: Path) -> None:
    """Write corpora, and a tokenizer whose pieces are to be added to another."""
    zh, en = (texts_of(world / "corpus" / f"{language}.jsonl") for language in ("zh", "en"))
    for name, texts in (("zh", zh), ("corpus", zh + en), ("novel_hongloumeng", zh[:60]),
                        ("en_tinyshakespeare", en[:60])):  # fmt: skip
        (folder / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    rows = {"more": zh[:40], "laws_zh": zh[60:120], "wiki": zh[:60], "texts/zh/a": zh,
            "texts/en": en, "corpus/zh": zh}  # fmt: skip
    for name, texts in rows.items():
        write_rows(folder / f"{name}.jsonl", [{"text": text} for text in texts])
    write_rows(folder / "heldout.jsonl", [
        {"text": text, "language": name}
        for name, texts in (("zh", zh[120:130]), ("en", en[120:130])) for text in texts
    ])  # fmt: skip
    write_rows(folder / "texts.jsonl", [
        {"id": row["id"], "text": row["text"], "language": row["language"]}
        for row in rows_of(world / "extraction" / "test.jsonl")
    ])  # fmt: skip
    shutil.copy(world / "extraction" / "test.jsonl", folder / "gold.jsonl")
    train_sentencepiece(zh, vocab_size=700, out=folder / "chinese")
    shutil.copy(folder / "chinese" / "tokenizer.model", folder / "chinese_sp.model")
    shutil.copytree(folder / "base", folder / "llama")


def write_conversations(folder: Path, world: Path) -> None:
    """Write conversations, instructions, pairs of answers, questions and a saved talk."""
    talks = rows_of(world / "chat.jsonl")
    pairs = [(talk["messages"][i]["content"], talk["messages"][i + 1]["content"])
             for talk in talks for i in range(0, len(talk["messages"]), 2)]  # fmt: skip
    alpaca = [{"instruction": one, "input": "", "output": two} for one, two in pairs]
    zh = [row for row in alpaca if not row["instruction"].isascii()]
    en = [row for row in alpaca if row["instruction"].isascii()]
    texts = {name: texts_of(world / "corpus" / f"{name}.jsonl") for name in ("zh", "en")}
    long = {name: [{"instruction": "续写。" if name == "zh" else "Go on.", "output": text}
                   for text in texts[name]] for name in texts}  # fmt: skip
    lists = {"alpaca": zh[:24] + en[:24], "alpaca_en": en + long["en"],
             "alpaca_zh": [*zh, *long["zh"], {"instruction": "", "output": ""}]}  # fmt: skip
    for name, rows in lists.items():
        text = json.dumps(rows, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    for name, rows in {"chat": talks[:40], "law": talks[40:80], "general": talks[80:120]}.items():
        write_rows(folder / f"{name}.jsonl", rows)
    write_rows(folder / "pairs.jsonl", [{"prompt": one, "chosen": two, "rejected": "不知道。"}
                                        for one, two in pairs[:12]])  # fmt: skip
    (folder / "questions.txt").write_text("\n".join(one for one, _ in pairs[:3]), encoding="utf-8")
    sampling = Sampling(max_new_tokens=8)
    history = (Said(Message("user", pairs[0][0])), Said(Message("assistant", "…"), sampling))
    talk = SavedTalk("plain", None, "oldest", None, sampling, history)
    (folder / "talk.json").write_text(json.dumps(talk.to_json(), ensure_ascii=False), "utf-8")
    (folder / "chat.yaml").write_text(CHAT, encoding="utf-8")


def write_exams(folder: Path) -> None:
    """Write exams in their published layouts; of C-Eval a few subjects, one question very long."""
    exams = Exams(folder, count=3)
    exams.write("cmmlu")
    exams.write("m3ke")
    (folder / "m3ke" / "test").rename(folder / "m3ke" / "test_unlabelled")
    for split in ("dev", "val"):
        for subject in SUBJECTS:
            file = folder / "ceval" / split / f"{subject}_{split}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows: list[list] = [["id", "question", *"ABCD", "answer", "explanation"]]
            for number, answer in enumerate("ABCDA"):
                question = f"{subject}里第{number}个问题，哪一个是对的？"
                question *= 40 if (split, number) == ("val", 4) else 1
                rows.append([number, question, "河流", "高山", "大海", "湖泊", answer, "看题。"])
            with file.open("w", encoding="utf-8", newline="") as opened:
                csv.writer(opened).writerows(rows)
    shutil.copytree(folder / "ceval", folder / "benchmarks" / "ceval")
    shutil.copytree(folder / "cmmlu", folder / "benchmarks" / "cmmlu")


def texts_of(file: Path) -> list[str]:
    """Return the texts of JSON lines."""
    return [row["text"] for row in rows_of(file)]


def rows_of(file: Path) -> list[dict]:
    """Return the rows of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_rows(file: Path, rows: list[dict]) -> None:
    """Write JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
