"""ESPnet's ``dump/raw/<set>``: every utterance as a 16-bit mono flac, made in slices and merged.

The slices exist so that any launcher can work on them side by side; what they write does not depend on
how many there are.
"""

import hashlib
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import soundfile
from tqdm import tqdm

from espnet_wsm.data.audio import convert, quantise, read_recording, write_flac
from espnet_wsm.data.kaldi import Utterance, read_data_dir, write_speakers
from espnet_wsm.data.lists import count, name_some, raise_collected, read_list, write_atomically, write_list
from espnet_wsm.errors import UserError

LONGEST_FILE_NAME = 200  # bytes; most file systems allow 255


def audio_file_name(utterance: str) -> str:
    """A file name for ``utterance`` that stays in its folder and belongs to no other id.

    All but ASCII letters, digits and ``_.-~`` is percent-encoded. What gets too long is cut and ends in a
    digest after ``=``, which the encoding never writes.
    """
    name = quote(utterance, safe="")
    if len(name) > LONGEST_FILE_NAME:
        name = f"{name[:120]}={hashlib.sha256(utterance.encode()).hexdigest()[:40]}"
    return f"{name}.flac"


def split_folder(out: Path, nj: int, job: int) -> Path:
    """Where job ``job`` (from 1) of ``nj`` leaves its lists."""
    return out / f"split{nj}" / str(job)


def write_dump_lists(directory: Path, utterances: list[Utterance], num_samples: dict[str, int]) -> None:
    """Write ``wav.scp``, ``text`` (removed when there is none), ``utt2spk``, ``spk2utt`` and
    ``utt2num_samples`` into ``directory``, each atomically, beside whatever else it holds."""
    write_list(directory / "wav.scp", {utterance.id: utterance.audio for utterance in utterances})
    if any(utterance.text for utterance in utterances):
        write_list(directory / "text", {utterance.id: utterance.text for utterance in utterances})
    else:
        (directory / "text").unlink(missing_ok=True)
    write_speakers(directory, {utterance.id: utterance.speaker for utterance in utterances})
    write_list(directory / "utt2num_samples", {each.id: num_samples[each.id] for each in utterances})


def read_num_samples(path: Path, problems: list[str], may_be_empty: bool = False) -> dict[str, int]:
    """Read a list of sample counts; lines that are no positive number are appended to ``problems``."""
    counts = {}
    for utterance, entry in read_list(path, problems, may_be_empty).items():
        if entry.value.isdecimal() and int(entry.value) > 0:
            counts[utterance] = int(entry.value)
        else:
            problems.append(
                f"{path}:{entry.line}: id {utterance} has {entry.value!r} where a number of samples is due: "
                "make the dump again"
            )
    return counts


def format_slice(data: Path, out: Path, fs: int, nj: int, job: int) -> None:
    """Convert slice ``job`` (from 1) of ``nj`` of the data directory ``data`` into ``out``.

    Writes ``out/audio/<name>.flac`` (16 bit, mono, ``fs`` Hz) and, in ``out/split<nj>/<job>``, ``wav.scp``,
    ``utt2num_samples``, ``converted`` (``id rate channels subtype`` of the audio that was anything else) and
    ``clipped`` (``id samples`` where resampling went over full scale). Audio that is 16-bit mono at ``fs``
    keeps its samples.

    Raises UserError with all the bad audio of the slice; the lists are then missing.
    """
    if nj < 1 or not 1 <= job <= nj:
        raise UserError(f"--job {job} of --nj {nj}: the job must lie between 1 and the number of jobs")
    if fs < 1:
        raise UserError(f"--fs {fs}: the sampling rate must be positive, e.g. 16000")
    if out.resolve() == data.resolve():
        raise UserError(
            f"--out {out} is the data directory itself: give another folder, e.g. dump/raw/{data.name}"
        )
    folder = split_folder(out, nj, job)
    shutil.rmtree(folder, ignore_errors=True)  # lists of an earlier run must not pass for this one's
    utterances = read_data_dir(data, need_text=False)
    first, last = len(utterances) * (job - 1) // nj, len(utterances) * job // nj
    wav_scp, num_samples, converted, clipped = {}, {}, {}, {}
    problems: list[str] = []
    progress = tqdm(utterances[first:last], desc=f"{data.name} {job}/{nj}", unit="utt", mininterval=1.0)
    # A directory that has passed read_data_dir has one utterance per line, in this order.
    for line, utterance in enumerate(progress, start=first + 1):
        try:
            recording = read_recording(utterance.audio)
            samples, overshoots = quantise(convert(recording.samples, recording.rate, fs))
            if not len(samples):
                raise UserError(f"{utterance.audio} is too short: nothing is left at {fs} Hz")
        except UserError as error:
            problems.append(f"{data / 'wav.scp'}:{line}: id {utterance.id}: {error}")
            continue
        path = out / "audio" / audio_file_name(utterance.id)
        write_atomically(path, lambda temporary, samples=samples: write_flac(temporary, samples, fs))
        wav_scp[utterance.id] = path
        num_samples[utterance.id] = len(samples)
        stored = (recording.rate, recording.samples.shape[1], recording.subtype)
        if stored != (fs, 1, "PCM_16"):
            converted[utterance.id] = " ".join(map(str, stored))
        if overshoots:
            clipped[utterance.id] = overshoots
    raise_collected(problems, data)
    if clipped:
        print(
            f"warning: clipped {count(sum(clipped.values()), 'sample')} at full scale "
            f"in {count(len(clipped), 'utterance')}: {name_some(clipped)}",
            file=sys.stderr,
        )
    write_list(folder / "utt2num_samples", num_samples)
    write_list(folder / "converted", converted)
    write_list(folder / "clipped", clipped)
    write_list(folder / "wav.scp", wav_scp)  # last: its presence says that the slice is complete


@dataclass
class DumpSummary:
    """What became of a data set: counts of utterances, and how they differed from 16-bit mono at ``fs``."""

    name: str
    utterances: int
    hours: float
    resampled: Counter[int]  # original rate in Hz -> utterances
    mixed_down: int
    requantised: int
    clipped_samples: int
    clipped_utterances: int

    def __str__(self) -> str:
        rates = ", ".join(f"{rate} Hz: {number}" for rate, number in sorted(self.resampled.items()))
        line = (
            f"{self.name}: {count(self.utterances, 'utterance')}, {self.hours:.2f} h; "
            f"resampled {self.resampled.total()}{f' ({rates})' if rates else ''}, "
            f"mixed down {self.mixed_down}, requantised {self.requantised}"
        )
        if self.clipped_utterances:
            line += f"; clipped {count(self.clipped_samples, 'sample')} "
            line += f"in {count(self.clipped_utterances, 'utterance')}"
        return line


def _summarise(
    name: str, fs: int, num_samples: dict[str, int], converted: dict[str, str], clipped: dict[str, str]
) -> DumpSummary:
    stored = [value.split(" ") for value in converted.values()]  # [rate, channels, subtype]
    return DumpSummary(
        name=name,
        utterances=len(num_samples),
        hours=sum(num_samples.values()) / fs / 3600,
        resampled=Counter(int(rate) for rate, _, _ in stored if int(rate) != fs),
        mixed_down=sum(channels != "1" for _, channels, _ in stored),
        requantised=sum(subtype != "PCM_16" for _, _, subtype in stored),
        clipped_samples=sum(map(int, clipped.values())),
        clipped_utterances=len(clipped),
    )


def merge_slices(data: Path, out: Path, nj: int) -> DumpSummary:
    """Join the lists of the ``nj`` slices into those of ``out``, and remove the slices.

    Writes ``wav.scp`` (paths as ``out`` was given), ``text`` if ``data`` has one, ``utt2spk``, ``spk2utt``
    and ``utt2num_samples``.

    Raises UserError when a slice is missing, an utterance of ``data`` is not there exactly once, its audio
    is gone, or the slices differ in their sampling rate.
    """
    if nj < 1:
        raise UserError(f"--nj {nj}: the number of jobs must be positive")
    utterances = read_data_dir(data, need_text=False)
    problems: list[str] = []
    owner: dict[str, int] = {}
    wav_scp, num_samples, converted, clipped, rates = {}, {}, {}, {}, {}
    for job in range(1, nj + 1):
        folder = split_folder(out, nj, job)
        if not (folder / "wav.scp").exists():
            problems.append(
                f"{folder / 'wav.scp'} is missing: job {job} of {nj} failed or has not run: "
                "see its log and run it again"
            )
            continue
        slice_wav_scp = read_list(folder / "wav.scp", problems, may_be_empty=True)
        for utterance, entry in slice_wav_scp.items():
            if utterance in owner:
                problems.append(
                    f"{folder / 'wav.scp'}:{entry.line}: id {utterance} is also in job {owner[utterance]}: "
                    "the jobs saw different data: run all of them again"
                )
            owner[utterance] = job
            wav_scp[utterance] = out / "audio" / audio_file_name(utterance)
            if not wav_scp[utterance].is_file():
                problems.append(f"{wav_scp[utterance]} (id {utterance}) is gone: run job {job} again")
            elif job not in rates:
                rates[job] = soundfile.info(str(wav_scp[utterance])).samplerate
        num_samples |= read_num_samples(folder / "utt2num_samples", problems, may_be_empty=True)
        for name, into in (("converted", converted), ("clipped", clipped)):
            entries = read_list(folder / name, problems, may_be_empty=True)
            into |= {utterance: entry.value for utterance, entry in entries.items()}
    wanted = {utterance.id for utterance in utterances}
    if not problems:
        for only, what in (
            (wanted - num_samples.keys() | (wanted - wav_scp.keys()), f"of {data} in no slice"),
            (wav_scp.keys() - wanted, f"in the slices but not in {data}"),
        ):
            if only:
                problems.append(
                    f"{count(len(only), 'id')} {what}: {name_some(sorted(only))}: run all jobs again"
                )
    if len(set(rates.values())) > 1:
        problems.append(
            f"the jobs wrote different sampling rates ({sorted(set(rates.values()))} Hz): run all jobs again"
        )
    raise_collected(problems, out)
    write_dump_lists(
        out,
        [Utterance(each.id, wav_scp[each.id], each.text, each.speaker) for each in utterances],
        num_samples,
    )
    shutil.rmtree(out / f"split{nj}")
    return _summarise(out.name, next(iter(rates.values())), num_samples, converted, clipped)
