"""The corpus, the training, its stored features and its models of tiny_training.py."""

from tiny_training import batch, build, corpus, dump, make_cache, training_arguments  # noqa: F401
