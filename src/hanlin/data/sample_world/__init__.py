"""A fictional bilingual encyclopedia made from a seed, and everything that the pipeline eats."""

from hanlin.data.sample_world.stage import STAGE

__all__ = ["STAGE"]
