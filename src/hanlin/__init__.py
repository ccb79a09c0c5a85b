"""Hanlin (翰林): take an open LLaMA-family base model to a new language and a new field."""

__version__ = "0.1.0"
