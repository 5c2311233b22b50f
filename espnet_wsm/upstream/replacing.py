"""Put modules in the place of others, wherever these are."""

from collections.abc import Mapping

from torch import nn


def replace_modules(root: nn.Module, others: Mapping[int, nn.Module]) -> None:
    """Replace modules below ``root``.

    Args:
        root: changed in place.
        others: what takes the place of a module, by the ``id()`` of that.
    """
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in others:
                setattr(parent, name, others[id(child)])
