"""How does lm-evaluation-harness run its tasks on our scorer? As `--model hanlin`.

    python -m hanlin.evaluation.lm_eval_bridge --model hanlin \\
        --model_args pretrained=runs/quickstart --tasks ceval-valid

lm_eval finds no models by itself: importing this module registers ours, and running it calls
lm_eval's own command line. Needs the extra `eval`.
"""

from __future__ import annotations

from typing import Any

from hanlin.core.extras import require
from hanlin.inference.engine import Sampling, open_engine

_PURPOSE = "running tasks of lm-evaluation-harness"
require("lm_eval", extra="eval", purpose=_PURPOSE)

from lm_eval.api.model import TemplateLM  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
from lm_eval.api.registry import register_model  # type: ignore[import-not-found, unused-ignore]  # noqa: E402


@register_model("hanlin")
class HanlinLM(TemplateLM):  # type: ignore[misc, unused-ignore]
    """A model of ours as lm_eval sees one.

    Args:
        pretrained: as `open_engine` takes it.
        backend: a name in `BACKENDS`; None chooses by the kind of file.
        add_bos_token: put the begin token before every text; None: where the tokenizer has one.
        max_new_tokens: longest generated answer where a task names none.
        options: what the command line adds for other models (batch_size, device); not needed here.
    """

    def __init__(
        self,
        pretrained: str,
        *,
        backend: str | None = None,
        add_bos_token: bool | None = None,
        max_new_tokens: int = 256,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__()
        self._engine = open_engine(pretrained, backend=backend)
        self._max_new_tokens = int(max_new_tokens)
        has_begin = self._engine.tokenizer.bos_id is not None
        self._adds_begin = has_begin if add_bos_token is None else bool(add_bos_token)

    @property
    def eot_token_id(self) -> int:
        """Return the end token."""
        return self._engine.tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """Return what an empty context is replaced by."""
        begin = self._engine.tokenizer.bos_id
        return self.eot_token_id if begin is None else begin

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        **options: Any,  # noqa: ANN401
    ) -> list[int]:
        """Return the ids of a text, after the begin token where the model wants one."""
        adds = self._adds_begin if add_special_tokens is None else add_special_tokens
        begin = [self.prefix_token_id] if adds else []
        return [*begin, *self._engine.tokenizer.encode(string, at_start=True)]

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        **options: Any,  # noqa: ANN401
    ) -> list[tuple[float, bool]]:
        """Score (texts, context ids, continuation ids); long contexts lose their beginning.

        Whether the continuation would be the greedy answer is not computed: False. Tasks that
        report accuracy over options do not use it.
        """
        room = self._engine.max_length + 1
        pairs = [
            (context[max(0, len(context) + len(answer) - room) :], answer)
            for _, context, answer in requests
        ]
        return [(value, False) for value in self._engine.score(pairs)]

    def loglikelihood_rolling(
        self,
        requests: list[Any],
        disable_tqdm: bool = False,
    ) -> list[float]:
        """Return the log-likelihood of each whole text, in windows of the model's context."""
        from hanlin.evaluation.benchmarks.bits_per_byte import text_windows

        sums = []
        for request in requests:
            windows = text_windows(
                request.args[0], self._engine.tokenizer, max_length=self._engine.max_length
            )
            sums.append(sum(self._engine.score(list(windows))))
        return sums

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Return greedy answers, cut at the strings that a task names."""
        answers = []
        for request in requests:
            text, settings = request.args
            stop = settings.get("until") or []
            sampling = Sampling(
                max_new_tokens=int(settings.get("max_gen_toks") or self._max_new_tokens),
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
            )
            room = max(1, self._engine.max_length - sampling.max_new_tokens)
            answers.append(self._engine.generate([self.tok_encode(text)[-room:]], sampling)[0].text)
        return answers


if __name__ == "__main__":
    # Run as a script, this file is `__main__`: the model is registered already.
    from lm_eval.__main__ import cli_evaluate  # type: ignore[import-not-found, unused-ignore]

    cli_evaluate()
