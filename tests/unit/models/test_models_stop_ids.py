"""Other programs stop at the end marker of a prompt format too."""

from transformers import GenerationConfig

from hanlin.core.files import read_json, write_json
from hanlin.models.save import write_stop_ids


def test_several_end_tokens_stand_in_the_generation_config(tmp_path):
    write_json(tmp_path / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    write_stop_ids(tmp_path, (7, 2))
    found = GenerationConfig.from_pretrained(tmp_path)
    assert (found.bos_token_id, found.eos_token_id) == (1, [7, 2])


def test_the_end_token_alone_changes_nothing(tmp_path):
    write_stop_ids(tmp_path, (2,))
    assert not list(tmp_path.iterdir())
    write_stop_ids(tmp_path, (7, 2))
    assert read_json(tmp_path / "generation_config.json") == {"eos_token_id": [7, 2]}
