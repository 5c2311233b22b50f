"""What an experiment's folder says: what was trained and how, and where its decoded sets are."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from espnet_wsm.arms import WITH_WINDOW
from espnet_wsm.data.kaldi.lists import name_some
from espnet_wsm.data.text.tokens import read_symbols
from espnet_wsm.errors import UserError
from espnet_wsm.files import read_written_yaml
from espnet_wsm.report.audio import list_bases
from espnet_wsm.scoring.collected import TRAIN, describe_upstream, name_experiment
from espnet_wsm.scoring.results import NONE, read_made
from espnet_wsm.scoring.trn import read_kaldi_text

USUAL = "decode_greedy"


@dataclass(frozen=True)
class DecodedSet:
    """A set that stage 4 decoded.

    Args:
        folder: what stage 4 wrote, named as the set.
        dump: what stage 2 wrote: text, utt2spk, wav.scp, utt2num_samples.
    """

    folder: Path
    dump: Path

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class Experiment:
    """What training and one decoding wrote.

    Args:
        folder: ``exp/asr_X``.
        name: of the experiment, with its recipe.
        decoding: name of the decoding's folder, e.g. ``decode_greedy``.
        facts: names and values to show.
        symbols: what is not scored.
        sets: the decoded ones, by name.
        notes: what is missing, a sentence each.
    """

    folder: Path
    name: str
    decoding: str
    facts: tuple[tuple[str, str], ...]
    symbols: tuple[str, ...]
    sets: tuple[DecodedSet, ...]
    notes: tuple[str, ...]


def read_experiment(path: Path, dump_dir: Path | None = None, sets: Iterable[str] = ()) -> Experiment:
    """Read ``exp/asr_X``, or one of its decodings, ``exp/asr_X/decode_Y``; of several, greedy comes first.

    Args:
        path: the folder.
        dump_dir: stage 2's folder; None = the one that the training configuration names.
        sets: which of the decoded sets; none = all.

    Raises:
        UserError: it is no experiment, nothing was decoded, a set was not, or the dump cannot be found.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: name an experiment, e.g. exp/asr_train_ctc_char")
    path = Path(os.path.abspath(path))
    folder = path if (path / "config.yaml").is_file() else path.parent
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"{path} is not an experiment, it has no config.yaml: name a folder such as exp/asr_X"
        )
    try:
        config = read_written_yaml(folder / "config.yaml")
        encoder = dict(config["encoder_conf"] or {})
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{folder / 'config.yaml'} is damaged ({said}): run stage {TRAIN} again") from error
    decoding, others = _choose_decoding(path, folder)
    texts = {text.parent.name: text.parent for text in sorted(decoding.glob("*/text"))}
    wanted = sorted(set(sets)) or list(texts)
    if missing := [name for name in wanted if name not in texts]:
        raise UserError(f"{decoding}: the set {name_some(missing)} was not decoded: run stage 4 with it")
    dumps = list(_find_dumps(config, folder, dump_dir))
    symbols = config.get("non_linguistic_symbols")
    parameters = _read_optional(folder / "parameters.json", ("trainable", "total", "upstream"))
    run = _read_optional(folder / "run.json", ("command", "git", "date"))
    notes = [f"There are other decodings, name one to see it: {name_some(others)}."] if others else []
    return Experiment(
        folder=folder,
        name=name_experiment(folder),
        decoding=decoding.name,
        facts=tuple(_list_facts(encoder, parameters, run)),
        symbols=tuple(read_symbols(_find(folder, symbols))) if symbols else (),
        sets=tuple(DecodedSet(texts[name], _find_set(texts[name], dumps)) for name in wanted),
        notes=tuple(notes),
    )


def _choose_decoding(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """The decoding to show, and the names of the others."""
    if path != folder:
        if (path / ".unfinished").exists() or not any(path.glob("*/text")):
            raise UserError(f"{path}: nothing was decoded, or not to the end: run stages 4 and 5")
        return path, []
    found = {one.parents[1] for one in folder.glob("decode*/*/text")}
    finished = sorted(one for one in found if not (one / ".unfinished").exists())
    if not finished:
        raise UserError(f"{path}: nothing was decoded, or not to the end: run stages 4 and 5")
    chosen = next((one for one in finished if one.name == USUAL), finished[0])
    return chosen, [one.name for one in finished if one != chosen]


def _read_optional(file: Path, keys: Iterable[str]) -> dict[str, Any]:
    return read_made(file, keys, TRAIN) if file.exists() else {}


def _list_facts(
    encoder: dict[str, Any], parameters: dict[str, Any], run: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    yield "Upstream", describe_upstream(parameters) if parameters else str(encoder.get("upstream") or NONE)
    yield "Mixer", str(encoder.get("mixer", NONE))
    yield "Layers replaced (k)", str(encoder.get("num_replaced", NONE))
    # The configuration has a default window, which not every mixer reads.
    if (window := encoder.get("window")) is not None and encoder.get("mixer") in WITH_WINDOW:
        yield "Window", window if isinstance(window, str) else json.dumps(window).strip("[]")
    if parameters:
        share = 100 * parameters["trainable"] / max(1, parameters["total"])
        yield "Parameters trained", f"{parameters['trainable']:,} of {parameters['total']:,} ({share:.0f} %)"
    if run:
        yield "Trained on", f"{run['date']}, git {run['git']}"
        yield "Command", str(run["command"])


def _find(folder: Path, named: str) -> Path:
    """A path of the configuration."""
    for base in list_bases(folder):
        if (base / named).exists():
            return base / named
    raise UserError(f"{named}, which {folder / 'config.yaml'} names, is not found from {folder} upwards")


def _find_dumps(config: dict[str, Any], folder: Path, dump_dir: Path | None) -> Iterator[Path]:
    """Where a set of the dump may be, complete ones first."""
    if dump_dir is not None:
        yield from (dump_dir / "raw/org", dump_dir / "raw")
        return
    for part in ("valid", "train"):
        for file, name, _ in config.get(f"{part}_data_path_and_name_and_type") or ():
            if name == "text":
                for base in list_bases(folder):
                    raw = (base / file).parent.parent
                    yield from (raw / "org", raw)


def _find_set(decoded: Path, dumps: list[Path]) -> Path:
    """The dump's folder with the utterances that were decoded.

    A validation set is in two: as it came, and, as decoded for calibration, without what is too long.
    """
    found = [dump / decoded.name for dump in dumps if (dump / decoded.name / "text").is_file()]
    if len(set(found)) > 1:
        ids = read_kaldi_text(decoded / "text").keys()
        found.sort(key=lambda one: read_kaldi_text(one / "text").keys() != ids)
    if found:
        return found[0]
    raise UserError(
        f"{decoded}: the set {decoded.name} is in no dump that the experiment names: give its folder with "
        "--dump_dir, e.g. dump/it"
    )
