"""`hanlin dpo`: tune a model on pairs of a better and a worse answer."""

from __future__ import annotations

from hanlin.cli.stage_command import stage_command


@stage_command("dpo", resumes=True)
def dpo() -> None:
    """Tune a model on pairs of a better and a worse answer; interrupted, the same command goes on.

    A row has a question (prompt, or instruction and input, or messages), a chosen and a rejected
    answer. Every key of the stage's config can be given as --KEY VALUE too, and wins over the file.

    \b
    Examples:
      hanlin dpo --model TUNED --preferences '[pairs.jsonl]' --out adapter
      hanlin dpo --config dpo.yaml --out adapter --beta 0.3
      hanlin dpo --model TUNED --preferences '[pairs.jsonl]' --method full --out preferred
    """
