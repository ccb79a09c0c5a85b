"""The model card: what a person must know before using or passing on a model."""
