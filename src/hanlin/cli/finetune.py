"""`hanlin finetune`: tune a model on conversations, all weights or a LoRA adapter."""

from __future__ import annotations

from hanlin.cli.stage_command import stage_command


@stage_command("finetune")
def finetune() -> None:
    """Tune a model on conversations; interrupted, the same command goes on.

    Every key of the stage's config can be given as --KEY VALUE too; these win over the file.

    \b
    Examples:
      hanlin finetune --model MODEL --store chat-store --out adapter
      hanlin finetune --config finetune.yaml --out adapter --lora.rank 32
      hanlin finetune --model MODEL --store chat-store --out tuned --method full --force
    """
