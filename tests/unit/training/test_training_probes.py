import pytest

from hanlin.core.errors import InputError
from hanlin.training.probes import ProbeTexts, read_probe_texts
from training_world import write_rows


def test_texts_are_read_by_language(world, tmp_path):
    found = read_probe_texts(ProbeTexts(texts=str(world.heldout), documents=3))
    assert list(found) == ["en", "zh"]
    assert len(found["en"]) == 3
    write_rows(tmp_path / "a.jsonl", [{"text": "no language"}])
    write_rows(tmp_path / "b.jsonl", [{"text": "有", "language": "zh"}])
    assert read_probe_texts(ProbeTexts(texts=str(tmp_path))) == {
        "text": ["no language"],
        "zh": ["有"],
    }


def test_empty_texts_are_refused(tmp_path):
    write_rows(tmp_path / "empty.jsonl", [{"text": ""}])
    with pytest.raises(InputError) as caught:
        read_probe_texts(ProbeTexts(texts=str(tmp_path / "empty.jsonl")))
    assert "holds no text to probe" in str(caught.value)
