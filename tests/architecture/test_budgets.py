"""Files and functions stay small; tables list exactly the files that exist; imports stay light."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "hanlin"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
HEAVY = ("torch", "transformers", "peft", "gradio", "sentencepiece", "tokenizers", "gguf", "numpy")


def test_files_are_short_and_open_with_their_question():
    assert len(FILES) > 50
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MAX_FILE_LINES, file
        assert ast.get_docstring(ast.parse(text)), f"{file} has no docstring"


def test_functions_are_short():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES, f"{file}: {node.name} has {length} lines"


def test_no_file_is_called_utils():
    names = {file.stem for file in FILES}
    assert not names & {"utils", "common", "helpers", "manager", "misc"}


@pytest.mark.parametrize(
    ("table", "folder"),
    [
        ("hanlin.pipeline.stages:STAGES", None),
        ("hanlin.inference.backends:BACKENDS", "inference/backends"),
        ("hanlin.evaluation.benchmarks:BENCHMARKS", "evaluation/benchmarks"),
    ],
)
def test_tables_list_what_exists(table, folder):
    module, _, name = table.partition(":")
    entries = getattr(importlib.import_module(module), name)
    for entry in entries:
        assert entries.get(entry) is not None
    if folder:
        listed = {
            target.partition(":")[0].rpartition(".")[2] for target in entries.targets.values()
        }
        present = {file.stem for file in (SOURCE / folder).glob("*.py")} - {"__init__"}
        assert present == listed


def loaded_modules(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after running the code."""
    script = f"{code}\nimport sys; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy():
    code = "from hanlin.cli.main import run_command\nrun_command(['--help'])"
    assert not loaded_modules(code) & {*HEAVY, "pydantic", "yaml", "rich"}


def test_planning_imports_no_framework():
    code = (
        "from hanlin.pipeline.recipe import find_recipe, load_recipe, recipe_schema\n"
        "load_recipe(find_recipe('quickstart')); recipe_schema()"
    )
    assert not loaded_modules(code) & {"torch", "transformers", "peft", "gradio"}
