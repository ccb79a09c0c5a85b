"""How does lm-evaluation-harness run its tasks on our scorer? As `--model hanlin`.

    python -m hanlin.evaluation.lm_eval_bridge --model hanlin \\
        --model_args pretrained=runs/quickstart --tasks ceval-valid

Its results are those of the harness's own `hf` model, many times faster where prompts share their
beginnings (tests/parity/test_parity_lm_eval.py). lm_eval finds no models by itself: importing this
module registers ours, and running it calls lm_eval's own command line. Needs the extra `eval`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.inference.engine import Sampling, ScoreRequest, open_engine

_PURPOSE = "running tasks of lm-evaluation-harness"
require("lm_eval", extra="eval", purpose=_PURPOSE)

from lm_eval import utils  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
from lm_eval.api.model import TemplateLM  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
from lm_eval.api.registry import register_model  # type: ignore[import-not-found, unused-ignore]  # noqa: E402

log = logging.getLogger(__name__)
# In the order in which the harness reads them; None and 0 leave the choice to us.
LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
Judged = tuple[float, bool]


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

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Judged]:
        """Score (context, continuation) texts, split as the harness does; encoded in one go."""
        texts = [_moved_spaces(*request.args) for request in requests if request.args[0]]
        contexts = self._encode([context for context, _ in texts])
        wholes = self._encode([context + answer for context, answer in texts])
        encoded: list[tuple[tuple[str, str], list[int], list[int]]] = []
        for request in requests:
            context, answer = request.args
            if context:
                ids = contexts[_moved_spaces(context, answer)[0]]
                whole = wholes[context + answer]
                encoded.append(((context, answer), ids, whole[len(ids) :]))
            else:
                ids = self.tok_encode(answer, add_special_tokens=False)
                begins = bool(ids) and ids[0] == self.prefix_token_id
                pair = (ids[:1], ids[1:]) if begins else ([self.prefix_token_id], ids)
                encoded.append(((context, answer), *pair))
        return self._loglikelihood_tokens(encoded)

    def _encode(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Return the ids of each different text."""
        different = list(dict.fromkeys(texts))
        begin = [self.prefix_token_id] if self._adds_begin else []
        found = self._engine.tokenizer.encode_batch(different, at_start=True)
        return {text: [*begin, *ids] for text, ids in zip(different, found, strict=True)}

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        **options: Any,  # noqa: ANN401
    ) -> list[Judged]:
        """Score (texts, context ids, continuation ids); long contexts lose their beginning."""
        room = self._engine.max_length + 1
        pairs = [
            (context[max(0, len(context) + len(answer) - room) :], answer)
            for _, context, answer in requests
        ]
        found = self._judge(pairs)
        for (texts, _, _), judged in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", texts, judged)
        return found

    def _judge(self, pairs: Sequence[ScoreRequest]) -> list[Judged]:
        """Return log-likelihoods and whether the continuation would be the greedy answer."""
        judge = getattr(self._engine, "judge", None)
        if judge is not None:
            return [(score.log_likelihood, score.is_greedy) for score in judge(pairs)]
        log.warning(
            "this model's backend does not tell whether an answer is the greedy one: a task that "
            "asks (LAMBADA's accuracy, for example) finds none. Convert the model to a folder."
        )
        return [(value, False) for value in self._engine.score(pairs)]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, in the harness's windows."""
        windows: list[ScoreRequest] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            rolling = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self._engine.max_length,
                context_len=1,
            )
            for window in map(utils.make_disjoint_window, rolling):
                windows.append(window)
                owners.append(number)
        sums = [0.0] * len(requests)
        for number, value in zip(owners, self._engine.score(windows), strict=True):
            sums[number] += value
        for request, value in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, value)
        return sums

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Return answers, cut at the strings that a task names; equal settings in one batch."""
        groups: dict[Sampling, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(self._sampling(request.args[1]), []).append(number)
        answers = [""] * len(requests)
        for sampling, numbers in groups.items():
            room = max(1, self._engine.max_length - sampling.max_new_tokens)
            prompts = [self.tok_encode(requests[n].args[0])[-room:] for n in numbers]
            found = self._engine.generate(prompts, sampling)
            for number, generation in zip(numbers, found, strict=True):
                answers[number] = generation.text
                self.cache_hook.add_partial(
                    "generate_until", requests[number].args, generation.text
                )
        return answers

    def _sampling(self, settings: dict[str, Any]) -> Sampling:
        """Return what a task's settings ask for: greedy unless they say otherwise."""
        stop = settings.get("until") or []
        length = next((n for name in LENGTH_NAMES if (n := settings.get(name))), None)
        temperature = float(settings.get("temperature") or 0.0)
        if settings.get("do_sample") is None:
            is_sampled = temperature > 0
        else:
            is_sampled = bool(settings["do_sample"])
        return Sampling(
            max_new_tokens=int(length or self._max_new_tokens),
            temperature=(temperature or 1.0) if is_sampled else 0.0,
            top_k=int(settings.get("top_k") or 0) if is_sampled else 0,
            top_p=float(settings.get("top_p") or 1.0) if is_sampled else 1.0,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
        )

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> NoReturn:
        """Refuse: our chat formats are made of ids, which the harness's texts cannot carry.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "--apply_chat_template does not work with --model hanlin",
            why="special tokens in a text are read as text, so that no question can forge one",
            fix="hanlin eval run MODEL --protocol chat, or lm_eval's --model hf",
        )


def _moved_spaces(context: str, answer: str) -> tuple[str, str]:
    """Move spaces at the end of a context to the answer: they are one token with its beginning."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + answer


if __name__ == "__main__":
    # Run as a script, this file is `__main__`: the model is registered already.
    from lm_eval.__main__ import cli_evaluate  # type: ignore[import-not-found, unused-ignore]

    cli_evaluate()
