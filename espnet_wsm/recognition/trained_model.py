"""Find the parts of a trained model, wherever its folder or archive is, and load it."""

import glob
import os
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml
from espnet2.main_funcs.pack_funcs import unpack

from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, read_written_yaml, refuse_stand_in
from espnet_wsm.plugin.arguments import NAME
from espnet_wsm.plugin.experiment import choose_average
from espnet_wsm.recognition.calibration import CALIBRATION, Calibration, read_calibration
from espnet_wsm.recognition.greedy import GreedyCtcDecoder
from espnet_wsm.upstream.families.registry import is_name


def load_decoder(
    model: Path | str,
    upstream: Path | str | None = None,
    device: str | None = None,
    model_file: Path | str | None = None,
    trust: bool = False,
    dtype: str = "trained",
) -> GreedyCtcDecoder:
    """The decoder of a trained model; arguments and errors are those of ``espnet_wsm.load``."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="espnet_wsm_")))
        trained = _find_parts(model, model_file, folder)
        config = folder / "located.yaml"
        config.write_text(yaml.safe_dump(_locate_paths(trained, upstream, trust)), encoding="utf-8")
        decoder = GreedyCtcDecoder(config, trained.checkpoint, _choose_device(device), dtype)
        decoder.calibration = _find_calibration(trained)
        # ESPnet opens a sentencepiece model only when it is first used, so the files are kept until then.
        weakref.finalize(decoder, stack.pop_all().close)
    return decoder


def _find_calibration(trained: "_TrainedModel") -> Calibration | None:
    """What stage 5 learnt about this checkpoint's confidences; None if it has not, or about another one."""
    if trained.unpacked is not None:
        file = next(trained.unpacked.rglob(CALIBRATION), None)
    else:
        file = trained.name / "decode_greedy" / CALIBRATION
    if file is None or not file.is_file():
        return None
    calibration, about = read_calibration(file)
    return calibration if about.get("model_digest") == digest_file(trained.checkpoint) else None


def _choose_device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {device}: PyTorch finds no CUDA device here; use cpu (--ngpu 0)")
    return str(device)


@dataclass(frozen=True)
class _TrainedModel:
    """The parts of a model: ``name`` is the user's path, made absolute; ``unpacked`` is set for archives."""

    name: Path
    config: dict
    checkpoint: Path
    unpacked: Path | None = None


def _find_parts(model: Path | str, model_file: Path | str | None, scratch: Path) -> _TrainedModel:
    """Find configuration and checkpoint of a model; archives are unpacked below ``scratch``."""
    name = Path(os.path.abspath(model))  # does not resolve links: an experiment is where its link is
    if not name.exists():
        raise UserError(f"{name} does not exist: name an experiment folder or an archive of espnet2.bin.pack")
    if name.is_dir():
        config, packed_checkpoint, unpacked = name / "config.yaml", None, None
    else:
        unpacked = scratch / "unpacked"
        config, packed_checkpoint = _unpack(name, unpacked)
    if not config.is_file():
        raise UserError(
            f"{name} has no {config.name}: name an experiment folder as stage 3 leaves it, e.g. exp/asr_X, "
            "or an archive of espnet2.bin.pack"
        )
    refuse_stand_in(config)
    conf = read_written_yaml(config)
    if conf.get("encoder") != NAME:
        raise UserError(f"{name} has the encoder {conf.get('encoder')}: only {NAME} can be loaded")
    if model_file is None:
        otherwise = "name a checkpoint with model_file= (--model_file)"
        checkpoint = packed_checkpoint or choose_average(name, conf["best_model_criterion"], otherwise)
    else:
        checkpoint = next((c for c in (config.parent / model_file, Path(model_file)) if c.is_file()), None)
    if checkpoint is None:
        raise UserError(f"model_file {model_file} exists neither in {name} nor in the working directory")
    return _TrainedModel(name, conf, checkpoint, unpacked)


def _unpack(archive: Path, folder: Path) -> tuple[Path, Path]:
    """Unpack what ``espnet2.bin.pack asr`` wrote; returns its configuration and its checkpoint."""
    refuse_stand_in(archive)
    try:
        unpack(archive, folder)
        meta = yaml.safe_load((folder / "meta.yaml").read_text(encoding="utf-8"))
        packed = meta["yaml_files"] | meta["files"]
    except Exception as error:  # each archive format has its own exceptions
        raise UserError(
            f"{archive} cannot be unpacked as an archive of espnet2.bin.pack: {type(error).__name__}: {error}"
        ) from error
    missing = [f"--{key}" for key in ("asr_train_config", "asr_model_file") if key not in packed]
    if missing:
        raise UserError(f"{archive} was packed without {' and '.join(missing)}: pack it again with them")
    # ESPnet records absolute paths of files from other folders, and archives drop the leading slash.
    config, checkpoint = (folder / packed[key].lstrip("/") for key in ("asr_train_config", "asr_model_file"))
    for path in (config, checkpoint):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{archive} names files outside of itself; do not use archives from that source")
    return config, checkpoint


def _locate_paths(trained: _TrainedModel, upstream: Path | str | None, trust: bool) -> dict:
    """The configuration with paths that are valid here; it was written with those of the training.

    Whether the upstream's file is trusted is decided by the user, not by whoever trained the model.
    """
    conf = trained.config | {"encoder_conf": dict(trained.config["encoder_conf"])}
    # A configuration may have the loader's name in `upstream` and the checkpoint in `path`.
    trained_on = conf["encoder_conf"].pop("path", None) or conf["encoder_conf"].get("upstream", "")
    conf["encoder_conf"] |= {"upstream": trained_on, "trust": trust}
    if upstream is not None:
        conf["encoder_conf"]["upstream"] = str(upstream)
    elif trained_on and not is_name(trained_on):
        remedy = "name it with upstream= (--upstream NAME_or_PATH)"
        conf["encoder_conf"]["upstream"] = _locate("upstream", trained_on, trained, remedy)
    if conf.get("bpemodel") is not None:
        remedy = f"copy it there or pack it with --option {conf['bpemodel']}"
        conf["bpemodel"] = _locate("bpemodel", conf["bpemodel"], trained, remedy)
    return conf


def _locate(what: str, path: str, trained: _TrainedModel, remedy: str) -> str:
    """Find the file or folder ``path`` of a configuration.

    A relative path is relative to the folder in which training ran, most likely the nearest folder above the
    experiment in which the path exists. The working directory comes last, as it may be another recipe's.
    """
    places = []
    if trained.unpacked is not None:
        if found := _find_by_longest_tail(trained.unpacked, path):
            return str(found)
        places.append("the archive itself")
    above = trained.name if trained.unpacked is None else trained.name.parent
    for place in dict.fromkeys(folder / path for folder in (above, *above.parents, Path.cwd())):
        if place.exists():
            return str(place)
        places.append(str(place))
    listed = "\n  ".join(places)
    raise UserError(f"{trained.name} needs the {what} {path}; {remedy}. It was looked for in\n  {listed}")


def _find_by_longest_tail(folder: Path, path: str) -> Path | None:
    """The file below ``folder`` that has the longest tail in common with ``path``.

    ``espnet2.bin.pack`` names members relative to the folder in which it was called, which may not be the
    folder of the training.
    """
    parts = [glob.escape(part) for part in Path(path).parts if part not in ("/", "..")]
    for start in range(len(parts)):
        if found := sorted(folder.glob("/".join(["**", *parts[start:]]))):
            return found[0]
    return None
