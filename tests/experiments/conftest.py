"""What several tests of reports need."""

import pytest

from espnet_wsm.experiments.sources import Sources
from espnet_wsm.files import write_text


@pytest.fixture
def no_drawing(monkeypatch) -> None:
    """Empty files for figures: drawing takes a second each."""
    draw = Sources.draw

    def pretend(sources, name, caption, *_arguments):
        return draw(sources, name, caption, lambda file: write_text(file, []))

    monkeypatch.setattr(Sources, "draw", pretend)
