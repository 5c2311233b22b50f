"""What figures have in common: the colours of the arms, and how a picture is saved."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from espnet_wsm.arms import ARMS
from espnet_wsm.files import write_atomically

# ``all`` is an arm of benchmarks, where the whole upstream trains; its colour is of Tol's, too.
COLOURS = {name: arm.colour for name, arm in ARMS.items()} | {"all": "#661100"}


def import_pyplot() -> Any:
    """Import matplotlib for use without a display; takes a second."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def write_figure(figure: Any, file: Path) -> None:
    """Write a PNG, whole or not at all, and free the figure."""
    write_atomically(file, lambda temporary: save_picture(figure, temporary))
    import_pyplot().close(figure)


def save_picture(figure: Any, file: Path) -> None:
    """Save a PNG with 256 colours, which is a third of the size of one with all.

    The palette has the most frequent colours and, exactly, white and the colours of the arms. Otherwise a
    line that is hidden by others, and visible only in the legend, would get the colour of another arm.
    """
    from PIL import Image

    whole = io.BytesIO()
    figure.savefig(whole, dpi=110, format="png")
    with Image.open(whole) as opened:
        picture = opened.convert("RGB")
    kept = [tuple(bytes.fromhex(colour.removeprefix("#"))) for colour in ("#FFFFFF", *COLOURS.values())]
    reduced = picture.quantize(colors=256 - len(kept))
    places, colours = np.array(reduced), np.asarray(picture)
    found = reduced.getpalette()
    for place, colour in enumerate(kept, len(found) // 3):
        places[(colours == colour).all(-1)] = place
    final = Image.fromarray(places)
    final.putpalette([*found, *(part for colour in kept for part in colour)])
    final.save(file, format="png", optimize=True)
