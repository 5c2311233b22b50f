"""The corpus and the training of tiny_training.py."""

from tiny_training import corpus, dump, training_arguments  # noqa: F401
