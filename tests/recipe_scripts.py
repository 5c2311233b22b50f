"""The scripts of recipes as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

EGS = Path(__file__).parents[1] / "egs"


def load_data(recipe: str) -> ModuleType:
    """egs/RECIPE/local/data.py, e.g. of ``fleurs/asr1``."""
    spec = importlib.util.spec_from_file_location(
        f"{recipe.replace('/', '_')}_data", EGS / recipe / "local/data.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
