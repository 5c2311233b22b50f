"""YAML files written by users."""

from pathlib import Path
from typing import Any

import yaml

from espnet_wsm.errors import UserError


def read_yaml(path: Path) -> Any:
    """The content of a file; None for an empty one.

    Raises:
        UserError: the file cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
