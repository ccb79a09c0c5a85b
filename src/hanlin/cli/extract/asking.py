"""How are a model's answers to plain questions asked for, in the prompt that it was tuned on?"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def asker(
    model: str, *, prompt: str | None = None, max_new_tokens: int = 256
) -> Callable[[Sequence[str]], list[str]]:
    """Load a model and return a function: questions to answers, chosen greedily.

    Raises:
        InputError: there is no model.
        ConfigError: no prompt format has that name.
    """
    from hanlin.core.records import Message
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import Sampling, open_engine
    from hanlin.prompts.encode import encode_prompt, stop_ids

    engine = open_engine(model)
    format = prompt_format(engine, name=prompt)
    ends = stop_ids(format, engine.tokenizer)
    sampling = Sampling(max_new_tokens=max_new_tokens, stop=format.stop_strings, stop_ids=ends)

    def ask(questions: Sequence[str]) -> list[str]:
        prompts = [
            encode_prompt([Message("user", question)], format=format, tokenizer=engine.tokenizer)
            for question in questions
        ]
        return [answer.text for answer in engine.generate(prompts, sampling)]

    return ask
