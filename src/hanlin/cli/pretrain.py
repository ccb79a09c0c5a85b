"""`hanlin pretrain`: continue to train all weights of a model on a token store."""

from __future__ import annotations

from hanlin.cli.stage_command import stage_command


@stage_command("pretrain")
def pretrain() -> None:
    """Continue pretraining a model on a token store; interrupted, the same command goes on.

    Every key of the stage's config can be given as --KEY VALUE too; these win over the file.

    \b
    Examples:
      hanlin pretrain --model MODEL --store store --out trained
      hanlin pretrain --config pretrain.yaml --out trained --schedule.steps 100
      hanlin pretrain --model MODEL --store store --out trained --processes 2 --force
    """
