"""The corpus and the training of tiny_training.py, and the stages on them."""

from tiny_training import corpus, dump, training_arguments  # noqa: F401
from transfer_stages import recipe  # noqa: F401
