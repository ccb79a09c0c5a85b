import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.models.load import load_pair
from hanlin.training.checks import check_data, check_rows


@pytest.fixture(scope="module")
def pair(world):
    return load_pair(world.model)


def rows_of(folder, documents, *, sha256="x"):
    """Packed rows of (ids, trained) documents; trained None: texts without a mask."""
    has_mask = documents[0][1] is not None
    writer = StoreWriter(folder, tokenizer_sha256=sha256, vocab_size=500, has_mask=has_mask)
    with writer:
        writer.begin("a")
        for ids, trained in documents:
            writer.add(ids, trained=trained)
    return PackedRows(TokenStore.open(folder), seq_len=8, seed=0)


def check(rows, pair):
    check_rows(rows, rows_of_model=400, eos=pair[1])


def test_good_rows_pass(world, pair):
    model, tokenizer = pair
    for store in (world.store, world.chat):
        rows = PackedRows(TokenStore.open(store), seq_len=48, seed=0)
        check_data(rows, model=model, tokenizer=tokenizer, where="m")


def test_another_tokenizer_is_refused(tmp_path, pair):
    model, tokenizer = pair
    rows = rows_of(tmp_path, [([1, 5, 2], None)])
    with pytest.raises(InputError) as caught:
        check_data(rows, model=model, tokenizer=tokenizer, where="my-model")
    assert "was made with another tokenizer than my-model" in str(caught.value)


def test_rows_longer_than_the_model_takes_are_refused(world, pair):
    model, tokenizer = pair
    rows = PackedRows(TokenStore.open(world.store), seq_len=600, seed=0)
    with pytest.raises(ConfigError) as caught:
        check_data(rows, model=model, tokenizer=tokenizer, where="my-model")
    assert "schedule.seq_len is 600 but my-model takes at most 512 tokens" in str(caught.value)
    assert "set schedule.seq_len to 512 or less" in str(caught.value)


def test_an_id_without_a_row_is_refused(tmp_path, pair):
    with pytest.raises(InputError) as caught:
        check(rows_of(tmp_path, [([1, 400, 2], None)]), pair)
    assert "holds the id 400 but the model has 400 embedding rows" in str(caught.value)
    assert "hanlin model grow" in str(caught.value)


def test_a_conversation_that_teaches_nothing_is_refused(tmp_path, pair):
    ids = [1, 5, 6, 7, 8, 9, 10, 2]
    documents = [(ids, [True] * 8), (ids, [False] * 8)]
    with pytest.raises(InputError) as caught:
        check(rows_of(tmp_path, documents), pair)
    assert "1 of the first 2 rows" in str(caught.value)
    assert "no assistant turn" in str(caught.value)


def test_documents_of_one_token_are_refused_only_if_there_is_nothing_else(tmp_path, pair):
    with pytest.raises(InputError, match="1 of the first 1 rows"):
        check(rows_of(tmp_path / "a", [([5], None)]), pair)
    check(rows_of(tmp_path / "b", [([5], None), ([1, 5, 6, 7, 8, 9, 3, 2], None)]), pair)


def test_answers_that_never_end_are_refused(tmp_path, pair):
    with pytest.raises(InputError) as caught:
        check(rows_of(tmp_path, [([1, 5, 6, 2], [False, True, True, False])]), pair)
    assert "ends with the end token '</s>'" in str(caught.value)
    assert "never learn to stop" in str(caught.value)
