"""The corpus and the training of tiny_training.py, and the stages on them."""

from tiny_training import corpus, training_arguments  # noqa: F401
from transfer_stages import dump, recipe  # noqa: F401
