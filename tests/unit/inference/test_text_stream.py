"""The stream shows whole characters as soon as they are certain, and never a stop string."""

from __future__ import annotations

from hanlin.inference.text_stream import TextStream


def test_character_over_three_tokens_appears_when_it_is_whole() -> None:
    stream = TextStream()
    assert [stream.push(bytes([byte])) for byte in "汉".encode()] == ["", "", "汉"]


def test_mixed_text_full_width_and_emoji() -> None:
    stream = TextStream()
    text = "Hello，世界！ＡＢＣ👩‍🚀 done"
    assert "".join(stream.push(bytes([byte])) for byte in text.encode()) + stream.finish() == text


def test_incomplete_character_at_the_end_is_left_out() -> None:
    stream = TextStream()
    assert stream.push("好".encode() + "汉".encode()[:2]) == "好"
    assert stream.finish() == ""


def test_broken_bytes_do_not_swallow_their_neighbors() -> None:
    stream = TextStream()
    assert stream.push(b"a\xe6\xb1b\xffc") + stream.finish() == "abc"


def test_stop_string_over_several_tokens_is_not_shown() -> None:
    stream = TextStream(["\nUser:"])
    shown = [stream.push(piece) for piece in (b" yes", b"\n", b"Us", b"er", b": more", b"x")]
    assert shown == [" yes", "", "", "", "", ""]
    assert stream.stopped_by == "\nUser:"
    assert stream.finish() == ""


def test_beginning_of_a_stop_string_is_shown_when_it_goes_on_differently() -> None:
    stream = TextStream(["\nUser:"])
    assert stream.push(b"yes\nUs") == "yes"
    assert stream.push(b"ually") == "\nUsually"
    assert stream.stopped_by is None


def test_the_stop_string_that_is_complete_first_wins() -> None:
    stream = TextStream(["。好", "明", "说明"])
    assert stream.push("他说明。好".encode()) == "他"
    assert stream.stopped_by == "说明"


def test_held_text_is_given_at_the_end() -> None:
    stream = TextStream(["###"])
    assert stream.push(b"C##") == "C"
    assert stream.finish() == "##"


def test_empty_stop_strings_and_empty_tokens_do_nothing() -> None:
    stream = TextStream([""])
    assert stream.push(b"") == ""
    assert stream.push(b"a") == "a"
