"""`hanlin finetune`: tune a model on conversations, all weights or a LoRA adapter."""

from __future__ import annotations

from hanlin.cli.stage_command import stage_command


@stage_command("finetune", resumes=True, continues=True)
def finetune() -> None:
    """Tune a model on conversations; interrupted, the same command goes on.

    Every key of the stage's config can be given as --KEY VALUE too; these win over the file.
    Three ways to go on: --resume, what was interrupted, to the same bytes; --continue STATE, with
    the optimizer and schedule of a finished run (--keep-state true), on its data from the beginning
    or on new; --init-from ADAPTER, with its weights alone.

    \b
    Examples:
      hanlin finetune --model MODEL --store chat-store --out adapter
      hanlin finetune --model MODEL --store chat-store --out adapter --resume
      hanlin finetune --model MODEL --store new --continue first/state --out second
      hanlin finetune --model MODEL --store law --init-from adapter --out lawyer
      hanlin finetune --config finetune.yaml --out adapter --lora.rank 32
      hanlin finetune --model MODEL --store chat-store --out tuned --method full --force
    """
