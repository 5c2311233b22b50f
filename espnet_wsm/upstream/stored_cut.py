"""The parts of an upstream that training from stored features needs, stored beside the features.

With them, the upstream itself need not be loaded.
"""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_atomically, write_text
from espnet_wsm.upstream.checkpoint import find_checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.conversion import put_blocks
from espnet_wsm.upstream.conversion_record import Conversion
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.families.registry import FAMILIES
from espnet_wsm.upstream.layer_table import LayerRow, describe_prefix
from espnet_wsm.upstream.load import load_upstream
from espnet_wsm.upstream.prefix import FrozenPrefix
from espnet_wsm.upstream.suffix import TrainableSuffix

CUT_FILE = "cut.json"
SUFFIX_FILE = "suffix.safetensors"
# Incremented when our own code below the cut changes; features stored under another number are stale.
PREFIX_VERSION = 2
# The fields of WsmConfig that determine the cut.
CONFIG_FIELDS = ("upstream", "trust", "num_replaced", "layers", "prefix_dtype")


@dataclass(frozen=True)
class StoredCut:
    """Description of the layers above the cut, as they came with the upstream, and of what lies below.

    Args:
        key: what the hidden states below the cut depend on, see :func:`describe_key`.
        config: the fields of ``WsmConfig`` that determine the cut.
        family: name of the upstream's contract.
        dim: channels D.
        below: the rows of the frozen part for the table of parameters.
        num_above: number of layers above the cut.
        layers: the contract's description of a layer.
        shared: the contract's description of what the layers need from the lowest one; None for nothing.
        final_norm: epsilon of the norm after the last layer, None when there is none.
        conversion: of a converted upstream, what :meth:`Conversion.describe` gives; None of any other.
    """

    key: dict[str, str]
    config: dict[str, Any]
    family: str
    dim: int
    below: tuple[LayerRow, ...]
    num_above: int
    layers: dict[str, Any]
    shared: dict[str, Any] | None
    final_norm: float | None
    conversion: dict[str, Any] | None = None

    @property
    def num_below(self) -> int:
        """Number of layers below the cut."""
        return len(self.below) - 1  # the first row is what lies below the layers

    def list_replaced(self, config: WsmConfig) -> list[int]:
        """The numbers of the layers that ``config`` replaces, 1 = the lowest of the upstream."""
        _, places = config.place_cut(self.num_below + self.num_above)
        return [self.num_below + place + 1 for place in places]


def describe_key(config: WsmConfig) -> dict[str, str]:
    """Everything except the audio that the hidden states below the cut depend on, without loading anything.

    Raises:
        UserError: the checkpoint is not there.
    """
    checkpoint = find_checkpoint(config.upstream, config.trust)
    return {
        "upstream": checkpoint.family.name,
        "upstream digest": checkpoint.digest,
        "layers above the cut": str(config.num_replaced)
        if config.layers is None
        else f"from layer {min(config.layers)} on",
        "prefix dtype": config.prefix_dtype,
        "code": f"prefix {PREFIX_VERSION}, s3prl {version('espnet-s3prl')}, "
        f"transformers {version('transformers')}",
    }


def name_cut(config: WsmConfig, stored_dtype: str) -> str:
    """The folder name for features of this cut: family, first digits of the digest, cut, precision."""
    checkpoint = find_checkpoint(config.upstream, config.trust)
    cut = f"k{config.num_replaced}" if config.layers is None else f"from{min(config.layers)}"
    half = "" if config.prefix_dtype == "float32" else f"-prefix_{config.prefix_dtype}"
    return f"{checkpoint.family.name}-{checkpoint.digest[:8]}-{cut}{half}-{stored_dtype}"


def find_cut(root: Path, config: WsmConfig, stored_dtype: str) -> Path:
    """The folder below ``root`` that holds features of this cut.

    Raises:
        UserError: there is none; says how each of those that exist differs.
    """
    folder = root / name_cut(config, stored_dtype)
    if (folder / CUT_FILE).is_file():
        check_cut(folder, config)
        return folder
    others = [other.parent for other in sorted(root.glob(f"*/{CUT_FILE}"))]
    reasons = "".join(
        f"\n  {other.name}: {'; '.join(_compare(read_cut(other), config)) or 'stored in another precision'}"
        for other in others
    )
    raise UserError(
        f"{root} holds no features of the present cut ({folder.name}); "
        f"{'it holds only:' + reasons if others else 'it holds none at all'}\n"
        "Run stage 2 again with the present settings, or train with --cache false"
    )


def store_cut(directory: Path, config: WsmConfig) -> StoredCut:
    """Load the upstream, write its suffix and its description, and return the description.

    Raises:
        UserError: the configuration or the upstream is faulty.
    """
    expert, checkpoint = load_upstream(config.upstream, config.trust)
    family = checkpoint.family
    converted, dim = checkpoint.conversion, family.dim(expert)
    layers = family.describe_layers(expert) if converted is None else dict(converted.shape)
    prefix, suffix = cut_of(expert, family, config)
    cut = StoredCut(
        key=describe_key(config),
        config={field: getattr(config, field) for field in CONFIG_FIELDS},
        family=family.name,
        dim=dim,
        below=describe_prefix(prefix),
        num_above=len(suffix.layers),
        layers=layers,
        shared=None if suffix.shared is None else suffix.shared.describe(),
        final_norm=None if suffix.final_norm is None else suffix.final_norm.eps,
        conversion=converted and converted.describe(),
    )
    weights = save(suffix.state_dict())
    write_atomically(directory / SUFFIX_FILE, lambda temporary: temporary.write_bytes(weights))
    write_text(directory / CUT_FILE, json.dumps(asdict(cut), indent=2).split("\n"))
    return read_cut(directory)  # with the types that JSON gives


def load_prefix(directory: Path) -> FrozenPrefix:
    """The prefix of a stored cut, loaded from the upstream.

    Raises:
        UserError: the upstream is not the one that was cut.
    """
    cut = read_cut(directory)
    config = WsmConfig(**cut.config)
    check_cut(directory, config)
    expert, checkpoint = load_upstream(config.upstream, config.trust)
    return cut_of(expert, checkpoint.family, config)[0]


def read_cut(directory: Path) -> StoredCut:
    """Read the description of a stored cut.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = Path(directory) / CUT_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["below"] = tuple(LayerRow(**row) for row in fields["below"])
        return StoredCut(**fields)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: it belongs to the feature cache; run stage 2 again"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} is damaged or of another version of espnet_wsm ({error}): run stage 2 again"
        ) from error


def _compare(cut: StoredCut, config: WsmConfig) -> list[str]:
    now = describe_key(config)
    return [
        f"{field}: stored {cut.key.get(field)!r}, now {now.get(field)!r}"
        for field in sorted(cut.key.keys() | now.keys())
        if cut.key.get(field) != now.get(field)
    ]


def check_cut(directory: Path, config: WsmConfig) -> StoredCut:
    """Read a stored cut and refuse it if it is not the cut of ``config``.

    Raises:
        UserError: it is another cut; names each difference.
    """
    cut = read_cut(directory)
    if differences := _compare(cut, config):
        raise UserError(
            f"the feature cache {directory} belongs to another cut ({'; '.join(differences)}): "
            "run stage 2 again with the present settings, or train with --cache false"
        )
    return cut


def load_suffix(directory: Path, cut: StoredCut) -> TrainableSuffix:
    """The layers above the cut with the upstream's weights, in eval mode; the upstream is not needed.

    Raises:
        UserError: the weights are missing or damaged.
    """
    family = next(family for family in FAMILIES if family.name == cut.family)
    path = Path(directory) / SUFFIX_FILE
    with torch.random.fork_rng(devices=[]):  # as in load_upstream
        layers = family.build_layers(cut.layers, cut.num_above)
        if cut.conversion is not None:
            numbered = dict(enumerate(layers, start=cut.num_below + 1))
            put_blocks(Conversion.read(cut.conversion), numbered, family, cut.dim)
        shared = None if cut.shared is None else family.build_shared(cut.shared)
    final_norm = None if cut.final_norm is None else nn.LayerNorm(cut.dim, eps=cut.final_norm)
    suffix = TrainableSuffix(layers, final_norm, family, shared)
    try:
        suffix.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: it belongs to the feature cache; run stage 2 again"
        ) from None
    except Exception as error:  # safetensors raises its own class, torch RuntimeError
        raise UserError(f"{path} is damaged ({error}): delete {directory} and run stage 2 again") from error
    return suffix.eval()
