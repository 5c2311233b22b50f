"""The corpus, the training, its stored features and its models of tiny_training.py."""

from tiny_training import (  # noqa: F401
    batch,
    build,
    corpus,
    dump,
    make_cache,
    refuse,
    resume,
    training_arguments,
)
