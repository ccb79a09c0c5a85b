"""How many bytes have passed, how fast, and how long will the rest take?"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Progress = Callable[[int, int, str], None]

WINDOW_S = 15.0  # a speed over less jumps about, over more it lags behind the line
UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))


def size_text(size_bytes: int) -> str:
    """Write a number of bytes for people: 812 B, 3.4 MB, 26.0 GB."""
    unit, factor = next((pair for pair in UNITS if size_bytes >= pair[1]), UNITS[-1])
    return f"{size_bytes} B" if factor == 1 else f"{size_bytes / factor:.1f} {unit}"


class Meter:
    """Counts bytes from several threads and tells a progress function about them.

    Args:
        total: bytes of the whole work.
        progress: called with (done, total, text), both in the unit that the text begins with.
        clock: seconds that only go forward.
    """

    def __init__(
        self, total: int, progress: Progress, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.done = 0
        self._total, self._progress, self._clock = total, progress, clock
        self._lock = threading.Lock()
        self._marks: deque[tuple[float, int]] = deque()
        # Whole numbers on the bar, as large as they can be told apart.
        self._unit = next((pair for pair in UNITS if total >= 100 * pair[1]), UNITS[-1])

    def skip(self, count: int) -> None:
        """Count bytes that were there before: they say nothing about the speed."""
        with self._lock:
            self.done += count
            self._marks = deque((at, done + count) for at, done in self._marks)

    def add(self, count: int) -> None:
        """Count bytes that have just passed; fewer than 0 where some were for nothing."""
        with self._lock:
            self.done += count

    def show(self, *, is_end: bool = False) -> None:
        """Tell the progress function how far the work is; that all is done only at the end."""
        if self.done >= self._total and not is_end:
            return
        now = self._clock()
        with self._lock:
            done = self.done
            self._marks.append((now, done))
            while now - self._marks[0][0] > WINDOW_S and len(self._marks) > 2:
                self._marks.popleft()
            since, before = self._marks[0]
        name, factor = self._unit
        speed = (done - before) / (now - since) if now > since else 0.0
        text = f"{name}, {size_text(int(speed))}/s" if speed > 0 else name
        if speed > 0 and done < self._total:
            text += f", {_duration((self._total - done) / speed)} left"
        self._progress(done // factor, self._total // factor, text)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
