"""`hanlin pretrain`: continue to train all weights of a model on a token store."""

from __future__ import annotations

from hanlin.cli.stage_command import stage_command


@stage_command("pretrain", resumes=True, continues=True)
def pretrain() -> None:
    """Continue pretraining a model on a token store; interrupted, the same command goes on.

    Every key of the stage's config can be given as --KEY VALUE too; these win over the file.
    --resume goes on with what was interrupted, or fails; --continue STATE goes on with the
    optimizer and schedule of a finished run (--keep-state true).

    \b
    Examples:
      hanlin pretrain --model MODEL --store store --out trained --keep-state true
      hanlin pretrain --model MODEL --store more --continue trained/state --out longer
      hanlin pretrain --config pretrain.yaml --out trained --schedule.steps 100
      hanlin pretrain --model MODEL --store store --out trained --processes 2 --force
    """
