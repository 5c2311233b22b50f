"""Speech to text in one call: find the parts of a trained model, then transcribe audio of any length."""

import glob
import itertools
import math
import os
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from espnet2.main_funcs.pack_funcs import unpack
from torch import Tensor
from tqdm import tqdm

from espnet_wsm.data.audio.recordings import LARGEST_PEAK, convert
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.plugin import register
from espnet_wsm.plugin.greedy import GreedyCtcDecoder
from espnet_wsm.upstream.families.registry import is_name
from espnet_wsm.upstream.pieces import CONTEXT, list_starts


class Transcriber:
    """An hour-long recording does not fit into one pass: attention below the cut is quadratic in time.

    Longer audio is split into chunks of equal length that overlap by 4 s, without padding. The outer 2 s of
    each chunk are dropped where a neighbouring chunk has the same frames further from its edge. The best
    tokens of the remaining frames are joined and collapsed once, as if they came from a single pass, so no
    token is doubled or lost where two chunks meet. What a model computes over the whole utterance (the global
    summary, attention below the cut, normalisation of the waveform) is then computed over a chunk. Audio that
    fits into one chunk takes one forward pass and gives the same text as ``asr_inference_greedy``.

    Arguments and errors are those of ``espnet_wsm.load``.
    """

    def __init__(
        self,
        model: Path | str,
        upstream: Path | str | None = None,
        device: str | None = None,
        *,
        model_file: Path | str | None = None,
        chunk_seconds: float = 30.0,
        batch_size: int = 4,
        trust: bool = False,
    ):
        shortest = 4 * CONTEXT * HOP / SAMPLE_RATE  # half of every chunk would be computed twice
        if not shortest <= chunk_seconds < math.inf:
            raise UserError(
                f"chunk_seconds is {chunk_seconds:g}: give {shortest:g} or more, as 2 s at either end of a "
                "chunk are context"
            )
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}: give 1 or more")
        self.chunk_frames = round(chunk_seconds * SAMPLE_RATE / HOP)
        self.batch_size = batch_size
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="espnet_wsm_")))
            trained = _find_parts(model, model_file, folder)
            config = folder / "located.yaml"
            config.write_text(yaml.safe_dump(_locate_paths(trained, upstream, trust)), encoding="utf-8")
            self.decoder = GreedyCtcDecoder(config, trained.checkpoint, _choose_device(device))
            prefix = self.decoder.model.encoder.prefix
            self.receptive_field = prefix.family.receptive_field
            most = prefix.family.limit_frames(prefix.expert)
            if most is not None and self.chunk_frames > most:
                raise UserError(
                    f"chunk_seconds is {chunk_seconds:g}: give {most * HOP / SAMPLE_RATE:g} or less, as the "
                    "model's upstream takes no more"
                )
            # ESPnet opens a sentencepiece model only when it is first used, so the files are kept until then.
            weakref.finalize(self, stack.pop_all().close)

    def __call__(self, waveform: np.ndarray | Tensor, sample_rate: int = SAMPLE_RATE) -> str:
        """The text of a waveform.

        Args:
            waveform: (N,) or (N, channels); floating point with full scale ±1, or int16 or int32.
            sample_rate: in Hz. Other rates than 16 kHz are resampled, and several channels are averaged.

        Raises:
            UserError: the waveform is empty, has another shape or type, or has samples that are not finite or
                far beyond full scale.
        """
        return self.transcribe(_convert_waveform(waveform, sample_rate))

    def transcribe(self, samples: np.ndarray, progress: bool = False) -> str:
        """The text of (N,) float32 samples at 16 kHz; ``progress`` shows a progress bar for long audio."""
        frames = max(1, (len(samples) - self.receptive_field) // HOP + 1)
        if frames <= self.chunk_frames:
            return self.decoder(torch.from_numpy(np.stack([samples])), torch.tensor([len(samples)]))[0].text
        ids, scores = torch.empty(frames, dtype=torch.long), torch.empty(frames)
        starts = list_starts(frames, self.chunk_frames)
        bar = tqdm(
            total=len(starts), desc="chunks", unit="chunk", leave=False,
            disable=not progress or len(starts) <= self.batch_size,
        )  # fmt: skip
        with bar:
            for batch in itertools.batched(starts, self.batch_size):
                for start, *best in zip(batch, *self._best_frames(samples, batch), strict=True):
                    # The next chunk overwrites the end of this one.
                    skipped = CONTEXT if start else 0
                    for joined, chunk in zip((ids, scores), best, strict=True):
                        joined[start + skipped : start + self.chunk_frames] = chunk[skipped:]
                bar.update(len(batch))
        return self.decoder.hypothesis(ids, scores).text

    def _best_frames(self, samples: np.ndarray, starts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """(B, chunk_frames) token ids and scores of the chunks that begin at frames ``starts``."""
        size = (self.chunk_frames - 1) * HOP + self.receptive_field
        speech = torch.from_numpy(np.stack([samples[start * HOP :][:size] for start in starts]))
        ids, scores, lengths = self.decoder.best_frames(speech, torch.full((len(starts),), size))
        assert set(lengths.tolist()) == {self.chunk_frames}, lengths
        return ids, scores


def _convert_waveform(waveform: np.ndarray | Tensor, sample_rate: int) -> np.ndarray:
    """(M,) float32 samples at 16 kHz from any supported waveform."""
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu()
        waveform = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
    samples = np.asarray(waveform)
    if samples.ndim not in (1, 2):
        raise UserError(f"the waveform has the shape {samples.shape}: give (N,) or (N, channels)")
    if not samples.size:
        raise UserError(f"the waveform is empty, of the shape {samples.shape}")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.shape[0] < samples.shape[1]:
        raise UserError(f"the waveform has the shape {samples.shape}: give (N, channels), transposed")
    if samples.dtype in (np.int16, np.int32):
        samples = samples / -np.float32(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise UserError(f"the waveform is of type {samples.dtype}: give floating point, int16 or int32")
    samples = samples.astype(np.float32, copy=False)
    peak = max(samples.max(), -samples.min())
    if not np.isfinite(peak):
        raise UserError("the waveform has samples that are not finite (NaN or infinity)")
    if peak >= LARGEST_PEAK:
        raise UserError(f"the waveform has samples up to {peak:.6g} where full scale is 1: rescale it")
    if not sample_rate > 0:
        raise UserError(f"sample_rate is {sample_rate}: give the waveform's rate in Hz")
    converted = convert(samples, sample_rate, SAMPLE_RATE)
    if not len(converted):
        raise UserError(f"the waveform is too short: {len(samples)} samples at {sample_rate} Hz")
    return converted


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
    conf = yaml.safe_load(config.read_text(encoding="utf-8"))
    if conf.get("encoder") != register.NAME:
        raise UserError(f"{name} has the encoder {conf.get('encoder')}: only {register.NAME} can be loaded")
    if model_file is None:
        checkpoint = packed_checkpoint or _choose_average(name, conf["best_model_criterion"])
    else:
        checkpoint = next((c for c in (config.parent / model_file, Path(model_file)) if c.is_file()), None)
    if checkpoint is None:
        raise UserError(f"model_file {model_file} exists neither in {name} nor in the working directory")
    return _TrainedModel(name, conf, checkpoint, unpacked)


def _choose_average(folder: Path, criteria: list[list[str]]) -> Path:
    """ESPnet's average of the best epochs by the first criterion that has one, validation criteria first."""
    names = [f"{phase}.{criterion}.ave.pth" for phase, criterion, _ in criteria]
    names.sort(key=lambda name: not name.startswith("valid."))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{folder} has no {' or '.join(names)}: finish its training (stage 3), or name a checkpoint with "
        "model_file= (--model_file)"
    )


def _unpack(archive: Path, folder: Path) -> tuple[Path, Path]:
    """Unpack what ``espnet2.bin.pack asr`` wrote; returns its configuration and its checkpoint."""
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
