"""A wheel holds every file that the package reads: none is only in the repository."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "hanlin"


def test_the_wheel_has_every_data_file():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["hanlin"]
    packed = {file for pattern in patterns for file in PACKAGE.glob(pattern) if file.is_file()}
    there = {
        file
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and "__pycache__" not in file.parts
    }
    assert there - packed == set()
    assert len(packed) >= 30
    for pattern in patterns:
        assert any(PACKAGE.glob(pattern)), f"{pattern} matches nothing"


def test_every_folder_with_code_is_a_package():
    for file in PACKAGE.rglob("*.py"):
        if "recipes" not in file.relative_to(PACKAGE).parts[:1]:
            assert (file.parent / "__init__.py").is_file(), file.parent
