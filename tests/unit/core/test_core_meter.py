"""Bytes, speed and time left, with a clock that we move."""

from hanlin.core.meter import Meter, size_text


def watch(total):
    lines, now = [], [0.0]
    meter = Meter(total, lambda *line: lines.append(line), clock=lambda: now[0])
    return meter, lines, now


def test_speed_and_time_left():
    meter, lines, now = watch(13_000_000_000)
    meter.skip(1_000_000_000)
    meter.show()
    now[0] = 10.0
    meter.add(500_000_000)
    meter.show()
    meter.skip(1_500_000_000)
    meter.show()
    assert lines == [
        (1000, 13000, "MB"),
        (1500, 13000, "MB, 50.0 MB/s, 3 min 50 s left"),
        (3000, 13000, "MB, 50.0 MB/s, 3 min 20 s left"),
    ]


def test_the_end_is_told_once_and_at_the_end():
    meter, lines, now = watch(50)
    meter.show()
    now[0] = 1.0
    meter.add(50)
    meter.show()
    meter.show(is_end=True)
    assert lines == [(0, 50, "B"), (50, 50, "B, 50 B/s")]


def test_a_line_that_stands_still_has_no_time_left():
    meter, lines, now = watch(1_000_000)
    for now[0] in (0.0, 10.0, 20.0, 40.0):
        meter.show()
    assert {text for _, _, text in lines} == {"kB"}
    meter.add(100)
    now[0] = 41.0
    meter.show()
    assert lines[-1][2].endswith("h 50 min left") or "h " in lines[-1][2]


def test_sizes():
    assert [size_text(n) for n in (0, 999, 1000, 3_400_000, 26_000_000_000)] == [
        "0 B", "999 B", "1.0 kB", "3.4 MB", "26.0 GB"
    ]  # fmt: skip
