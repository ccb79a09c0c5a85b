"""How is the server doing, in numbers that Prometheus collects? Never a text of anybody."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The server's counters, apart from those of other servers in the process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "hanlin_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "hanlin_request_seconds", "From the first byte of a request to the last of its reply.",
            ["path"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.first_token_seconds = Histogram(
            "hanlin_first_token_seconds", "From a request to the first token of an answer.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.queue_seconds = Histogram(
            "hanlin_queue_seconds", "How long answers waited for their turn.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "hanlin_tokens", "Tokens of prompts and of finished answers.", ["kind"],
            registry=registry,
        )  # fmt: skip
        self.answers = Counter(
            "hanlin_answers", "Answers by what ended them.", ["outcome"], registry=registry
        )
        self.running = Gauge(
            "hanlin_answers_running", "Answers being generated.", registry=registry
        )
        self.waiting = Gauge(
            "hanlin_answers_waiting", "Answers waiting for their turn.", registry=registry
        )

    def report(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(path, str(status)).inc()
        self.request_seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
