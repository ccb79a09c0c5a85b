"""Protocol lm-eval on real exams: lm-eval's own tasks and `hf` model give the same, question by
question. Its task files are used as they are; only the data comes from local files."""

import csv
import json
from pathlib import Path

import pytest

from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.run import run_benchmark
from hanlin.inference.engine import open_engine
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, new_llama
from hanlin.prompts.formats import get_format
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece

lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra eval)")
pytestmark = pytest.mark.real_data
SUBJECTS, QUESTIONS = 6, 4  # of each exam, spread over its subjects
# exam -> split, end of a file's name, the harness's task file
EXAMS = {
    "ceval": ("val", "_{split}.csv", "ceval/ceval-valid_{subject}.yaml"),
    "cmmlu": ("test", ".csv", "cmmlu/cmmlu_{subject}.yaml"),
    "mmlu": ("test", "_{split}.csv", "mmlu/default/mmlu_{subject}.yaml"),
}
LETTERS = "ABCD"


def rows_of(file, exam):
    """Return the rows of a published file as the harness's data sets have them."""
    with file.open(encoding="utf-8", newline="") as lines:
        if exam != "mmlu":
            return list(csv.DictReader(lines))
        return [
            {"question": row[0], "choices": row[1:5], "answer": LETTERS.index(row[5])}
            for row in csv.reader(lines)
        ]


class Exam:
    """A few questions of a few subjects, in the published form and in the harness's."""

    def __init__(self, name, source, out):
        self.name, self.data, self.tasks = name, out / "data", out / "tasks"
        self.split, end, task = EXAMS[name]
        self.tasks.mkdir(parents=True)
        files = sorted((source / self.split).glob("*.csv"))
        suffix = end.format(split=self.split)
        names = [file.name.removesuffix(suffix) for file in files]
        self.subjects = names[:: -(-len(names) // SUBJECTS)]
        for subject in self.subjects:
            json_files = {}
            for split in ("dev", self.split):
                file = source / split / (subject + end.format(split=split))
                json_files[split] = self._copy(file, split, None if split == "dev" else QUESTIONS)
            self._write_task(subject, task.format(subject=subject), json_files)

    def _copy(self, file, split, count):
        """Copy the first rows, as CSV for us and as JSON for the harness."""
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        has_header = self.name != "mmlu"
        target = self.data / split / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows(rows[: None if count is None else count + has_header])
        found = self.tasks / f"{split}-{file.stem}.jsonl"
        kept = rows_of(file, self.name)[:count]
        found.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        return str(found)

    def _write_task(self, subject, task_file, json_files):
        tasks = Path(lm_eval.__file__).parent / "tasks"
        settings = {
            "include": str(tasks / task_file), "task": f"local_{subject}", "dataset_path": "json",
            "dataset_name": None, "dataset_kwargs": {"data_files": json_files},
        }  # fmt: skip
        (self.tasks / f"{subject}.yaml").write_text(json.dumps(settings))  # JSON is YAML


@pytest.fixture(scope="module", params=EXAMS)
def exam(request, real_data, tmp_path_factory):
    import datasets

    out = tmp_path_factory.mktemp(request.param)
    datasets.config.HF_DATASETS_CACHE = out / "cache"
    return Exam(request.param, real_data / "eval" / request.param, out)


@pytest.fixture(scope="module", params=[4096, 300], ids=["whole prompts", "cut prompts"])
def folder(request, real_data, tmp_path_factory):
    """A random model; its tokenizer knows both languages."""
    folder = tmp_path_factory.mktemp("model")
    files = [real_data / "eval/cmmlu/dev/college_medicine.csv"]
    files += sorted((real_data / "eval/mmlu/dev").glob("*.csv"))[:8]
    files += sorted((real_data / "eval/ceval/dev").glob("*.csv"))[:8]
    train_sentencepiece([f.read_text(encoding="utf-8") for f in files], vocab_size=3000, out=folder)
    shape = Architecture(hidden_size=32, layers=2, heads=2, max_length=request.param)
    tokenizer = load(folder)
    return save_model(new_llama(shape, tokenizer.vocab_size, 0), tokenizer, folder)


def test_log_likelihoods_and_accuracy_equal(exam, folder):
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(exam.tasks), include_defaults=False)
    tasks = [f"local_{subject}" for subject in exam.subjects]
    theirs = lm_eval.simple_evaluate(
        model="hf", model_args=f"pretrained={folder},dtype=float32,device=cpu", batch_size=4,
        tasks=tasks, num_fewshot=5, task_manager=manager, bootstrap_iters=0,
    )  # fmt: skip
    config = BenchmarkConfig(
        id=exam.name, benchmark=exam.name, data=str(exam.data), protocol="lm-eval", shots=5
    )
    subject = Subject("model", open_engine(str(folder)), get_format("plain"))
    ours = run_benchmark(config, subject, seed=0)
    assert len(ours.records) == QUESTIONS * len(exam.subjects)
    for name, task in zip(exam.subjects, tasks, strict=True):
        records = [record for record in ours.records if record["subject"] == name]
        samples = sorted(theirs["samples"][task], key=lambda sample: sample["doc_id"])
        for record, sample in zip(records, samples, strict=True):
            expected = [float(option[0][0]) for option in sample["resps"]]
            assert record["log_likelihoods"] == pytest.approx(expected, abs=1e-4), record["id"]
            assert record["correct"] == sample["acc"]
        accuracy = sum(record["correct"] for record in records) / len(records)
        assert accuracy == theirs["results"][task]["acc,none"]
