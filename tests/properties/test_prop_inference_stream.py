"""Whatever the text and however its bytes are cut: whole characters, the same text, no U+FFFD."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hanlin.inference.text_stream import REPLACEMENT, TextStream

all_unicode = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=REPLACEMENT))


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    borders = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *borders], [*borders, len(data)], strict=True)]


def run(pieces: list[bytes], stop: list[str]) -> tuple[list[str], str | None]:
    stream = TextStream(stop)
    shown = [stream.push(piece) for piece in pieces]
    return [*shown, stream.finish()], stream.stopped_by


@given(all_unicode, st.data())
def test_any_text_comes_back_whole_at_any_cut(text: str, data: st.DataObject) -> None:
    shown, _ = run(data.draw(cut(text.encode())), [])
    assert "".join(shown) == text


@given(st.binary(max_size=60), st.data())
def test_any_bytes_give_the_same_clean_text_at_any_cut(raw: bytes, data: st.DataObject) -> None:
    shown, _ = run(data.draw(cut(raw)), [])
    assert "".join(shown) == raw.decode(errors="ignore").replace(REPLACEMENT, "")
    assert all(REPLACEMENT not in piece for piece in shown)


@given(
    st.text("ab\n：汉", max_size=30),
    st.lists(st.text("ab\n：汉", max_size=4), max_size=3),
    st.data(),
)
def test_text_ends_before_the_first_stop_string(
    text: str, stop: list[str], data: st.DataObject
) -> None:
    shown, stopped_by = run(data.draw(cut(text.encode())), stop)
    whole, _ = run([text.encode()], stop)
    result = "".join(shown)
    assert result == "".join(whole)
    starts = [text.find(word) for word in stop if word and word in text]
    if stopped_by is None:
        assert not starts
        assert result == text
    else:
        assert (result + stopped_by) == text[: len(result) + len(stopped_by)]
        assert not any(word and word in result for word in stop)
