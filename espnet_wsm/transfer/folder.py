"""The folder of a transfer: what it belongs to, what the blocks have learnt, and how the errors fell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_atomically, write_text
from espnet_wsm.transfer.learning import Curve, TransferSettings
from espnet_wsm.upstream.config import IMMATERIAL, WsmConfig
from espnet_wsm.upstream.stored_cut import StoredCut

PLAN_FILE, RESULT_FILE, BLOCKS_FILE, FIGURE_FILE = "plan.json", "transfer.json", "blocks.pth", "transfer.png"
CHECKPOINT_FILE = "checkpoint.pt"
# Incremented when our own way to learn changes.
TRANSFER_VERSION = 1


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer depends on.

    Args:
        cut: the key of the cut.
        blocks: the fields of WsmConfig that shape the blocks.
        audio: digest of the audio of each set, by its name in the plan (train, held_out).
        settings: how they learn.
        layers: numbers of the replaced layers.
    """

    cut: dict[str, str]
    blocks: dict[str, Any]
    audio: dict[str, str]
    settings: TransferSettings
    layers: tuple[int, ...]

    @classmethod
    def make(
        cls,
        cut: StoredCut,
        config: WsmConfig,
        audio: Mapping[str, str],
        settings: TransferSettings,
        layers: Sequence[int],
    ) -> "TransferPlan":
        """Of a configuration whose windows are known."""
        blocks = {name: value for name, value in asdict(config).items() if name not in IMMATERIAL}
        plan = cls(cut.key, blocks, dict(audio), settings, tuple(layers))
        return cls.read(json.loads(plan.text))  # with the types that JSON gives

    @classmethod
    def read(cls, content: dict[str, Any]) -> "TransferPlan":
        """From its JSON."""
        content = dict(content)
        content.pop("version")
        settings = TransferSettings(**content.pop("settings"))
        return cls(settings=settings, layers=tuple(content.pop("layers")), **content)

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps({"version": TRANSFER_VERSION, **asdict(self)}, sort_keys=True)

    @property
    def name(self) -> str:
        """The folder's, e.g. ``transfer_wsm_k2_0a1b2c3d``."""
        return f"transfer_{self.blocks['mixer']}_k{len(self.layers)}_{digest_text(self.text)[:8]}"

    def write(self, folder: Path) -> None:
        """Write the file."""
        write_text(folder / PLAN_FILE, [self.text])


def read_plan(folder: Path) -> TransferPlan:
    """What a folder was planned for.

    Raises:
        UserError: it is none of a transfer, or damaged.
    """
    path = folder / PLAN_FILE
    try:
        return TransferPlan.read(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run stage 3 again") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {folder} and run stage 3 again") from error


def is_done(folder: Path, plan: TransferPlan) -> bool:
    """Whether the transfer of ``plan`` has ended in this folder."""
    done = (folder / RESULT_FILE).is_file() and (folder / BLOCKS_FILE).is_file()
    return done and read_plan(folder) == plan


def write_result(
    folder: Path, identity: torch.Tensor, suffix: nn.Module, blocks: Sequence[nn.Module], curve: Curve
) -> None:
    """Write the blocks as ESPnet's ``--init_param FILE:encoder:encoder`` reads them, the curve and a figure.

    Args:
        folder: where.
        identity: of the upstream, encoded.
        suffix: that holds the blocks; names in the file are those in the encoder.
        blocks: what has learnt.
        curve: its errors.
    """
    learnt = {id(parameter) for block in blocks for parameter in block.parameters()}
    state = {
        f"encoder.suffix.{name}": parameter.detach().cpu().clone()
        for name, parameter in suffix.named_parameters()
        if id(parameter) in learnt
    }
    state["encoder._extra_state"] = identity
    write_atomically(folder / BLOCKS_FILE, lambda temporary: torch.save(state, temporary))
    draw_curve(curve, folder / FIGURE_FILE)
    result = {"layers": curve.layers, "error": curve.held_out[-1], "curve": asdict(curve)}
    write_text(folder / RESULT_FILE, [json.dumps(result)])
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def draw_curve(curve: Curve, file: Path) -> None:
    """The errors over the steps, a colour for each layer."""
    from espnet_wsm.figures import import_pyplot, write_figure

    plt = import_pyplot()
    from matplotlib.ticker import LogLocator, NullLocator

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for place, layer in enumerate(curve.layers):
        (line,) = axes.plot(
            curve.steps, [errors[place] for errors in curve.held_out], label=f"layer {layer}, held out"
        )
        axes.plot(
            curve.steps[1:],
            [errors[place] for errors in curve.train],
            linestyle=":",
            color=line.get_color(),
            label=f"layer {layer}, training",
        )
    axes.set(
        xlabel="steps", ylabel="squared error / variance", yscale="log",
        title="What is left of what attention gives",
    )  # fmt: skip
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    write_figure(figure, file)
