"""SortaGrad (Amodei et al., 2016, arXiv 1512.02595, section 3.2): short utterances first.

With long utterances CTC's first gradients say little but "blank", and where steps are few a training may not
leave that again. ESPnet 1 had the option; ESPnet 2's iterators know only shuffled batches.
"""

from pathlib import Path
from typing import Any

from espnet2.fileio.read_text import load_num_sequence_text
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader


class ShortFirst(AbsIterFactory):
    """The iterators of another factory; in the first epochs their batches are sorted by length.

    The batches of an epoch stay what they are: those that the factory drew for it, in another order.
    """

    def __init__(self, factory: AbsIterFactory, epochs: int, shape_file: str | Path) -> None:
        """Sort what ``factory`` gives.

        Args:
            factory: makes a loader whose ``batch_sampler`` is a list of batches of ids.
            epochs: sorted are epochs 1 to this one; all of them if it is -1.
            shape_file: lines ``id length[,width]``, as stage 2 of a recipe writes them.
        """
        self.factory, self.epochs = factory, epochs
        self.lengths = {name: shape[0] for name, shape in load_num_sequence_text(shape_file).items()}

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader[Any]:
        """The loader of an epoch, counted from 1."""
        loader = self.factory.build_iter(epoch, shuffle)
        if self.epochs == -1 or epoch <= self.epochs:
            loader.batch_sampler.sort(key=lambda batch: max(self.lengths[name] for name in batch))
        return loader
