"""The tiny configuration, and changes to it."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / "conf/benchmark/tiny.yaml"


def tiny(**changes) -> dict:
    """The tiny configuration as YAML gives it, with changes; None takes a key away."""
    raw = yaml.safe_load(TINY.read_text()) | changes
    return {key: value for key, value in raw.items() if value is not None}


def tiny_with_arm(**arm) -> dict:
    raw = tiny()
    return raw | {"arms": raw["arms"] | {"extra": arm}}
