"""ESPnet's ``dump/raw/<set>``: every utterance as a 16-bit mono flac, converted in slices and merged.

The slices allow any launcher to run jobs in parallel; the result does not depend on their number.
"""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile
from tqdm import tqdm

from espnet_wsm.data.audio.channels import mix_down
from espnet_wsm.data.audio.recordings import check_rate, convert, quantise, read_recording, write_flac
from espnet_wsm.data.dump.batches import check_job
from espnet_wsm.data.dump.lists import read_num_samples, write_dump_lists
from espnet_wsm.data.kaldi.channels import find_shared_audio
from espnet_wsm.data.kaldi.directory import Utterance, find_audio_list, read_data_dir
from espnet_wsm.data.kaldi.lists import (
    byte_order,
    count,
    name_some,
    raise_collected,
    read_list,
    tell_ids,
    write_list,
)
from espnet_wsm.data.text.rules import EMPTIED, TextRules
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_atomically, write_text

LONGEST_FILE_NAME = 200  # bytes; most file systems allow 255
SLOWEST, FASTEST = 0.3, 3.0  # range of speeds in which speech remains intelligible


def audio_file_name(utterance: str) -> str:
    """A file name for ``utterance`` that cannot leave its folder and that no other id has.

    Everything except ASCII letters, digits and ``_.-~`` is percent-encoded. Names that are too long are cut
    and end in ``=``, which the encoding never produces, and a digest.
    """
    name = quote(utterance, safe="")
    if len(name) > LONGEST_FILE_NAME:
        name = f"{name[:120]}={digest_text(utterance)[:40]}"
    return f"{name}.flac"


def split_folder(out: Path, nj: int, job: int) -> Path:
    """The folder to which job ``job`` (from 1) of ``nj`` writes its lists."""
    return out / f"split{nj}" / str(job)


@dataclass(frozen=True)
class Copy:
    """One utterance of the dump: the utterance on ``line`` (from 1) of the data directory's lists, played at
    ``speed`` times its original speed, with the id and speaker of the copy."""

    utterance: Utterance
    line: int
    speed: float


def parse_speeds(words: str) -> dict[str, float]:
    """``"0.9 1.0 1.1"`` -> a mapping from each word to its factor, in the given order.

    Raises UserError for a word that is not a plain decimal number, a factor that is not between 0.3 and 3,
    and a factor that is given twice.
    """
    speeds: dict[str, float] = {}
    for word in words.split():
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", word) or not SLOWEST < float(word) < FASTEST:
            raise UserError(
                f"--speed_perturb {words!r}: {word!r} is not a factor between {SLOWEST} and {FASTEST}; "
                "give e.g. '0.9 1.0 1.1'"
            )
        if float(word) in speeds.values():
            raise UserError(f"--speed_perturb {words!r}: {word} is given twice: name each factor once")
        speeds[word] = float(word)
    return speeds


def read_copies(
    data: Path, speed_perturb: str = "", allow_pipes: bool = False, with_text: bool = True
) -> list[Copy]:
    """The utterances of the data directory ``data`` as the dump will hold them, in byte order of their ids.

    There is one copy for every factor of ``speed_perturb``, with ``sp0.9-`` before id and speaker as in Kaldi
    and ESPnet; for factor 1 they are unchanged. Without factors, every utterance is there once. Transcripts
    are read if there are any, or, without ``with_text``, not at all.

    Raises UserError for a faulty data directory or factor, and if a copy would have the id of an utterance.
    """
    # A directory accepted by read_data_dir has one utterance per line, in this order.
    utterances = read_data_dir(data, need_text=False if with_text else None, allow_pipes=allow_pipes)
    originals = [Copy(each, line, 1.0) for line, each in enumerate(utterances, 1)]
    speeds = parse_speeds(speed_perturb)
    if not speeds:
        return originals
    copies = []
    for word, speed in speeds.items():
        prefix = "" if speed == 1 else f"sp{word}-"
        for original in originals:
            utterance = original.utterance
            renamed = replace(utterance, id=prefix + utterance.id, speaker=prefix + utterance.speaker)
            copies.append(Copy(renamed, original.line, speed))
    taken = {copy.utterance.id for copy in originals} & {
        copy.utterance.id for copy in copies if copy.speed != 1
    }
    if taken:
        raise UserError(
            f"{data}: {count(len(taken), 'id')} already there that --speed_perturb would make: "
            f"{name_some(sorted(taken, key=byte_order))}: the set already holds such copies: omit the option"
        )
    return sorted(copies, key=lambda copy: byte_order(copy.utterance.id))


def format_slice(
    data: Path,
    out: Path,
    fs: int,
    nj: int,
    job: int,
    speed_perturb: str = "",
    allow_pipes: bool = False,
    channel: int | None = None,
    with_text: bool = True,
) -> None:
    """Convert slice ``job`` (from 1) of ``nj`` of the data directory ``data`` to ``out``.

    With ``allow_pipes``, commands that ``wav.scp`` names instead of files are run.

    With ``speed_perturb`` (e.g. ``"0.9 1.0 1.1"``), the dump holds a copy at each speed, see `read_copies`;
    pitch changes with tempo. Of audio with several channels, the one that ``reco2file_and_channel`` names is
    taken, else ``channel`` (from 1; None = their mean).

    Writes ``out/audio/<name>.flac`` (16 bit, mono, ``fs`` Hz) and, in ``out/split<nj>/<job>``, ``wav.scp``,
    ``utt2num_samples``, ``converted`` (``id rate channels subtype`` of audio in any other format; ``1/2`` is
    channel 1 of 2), ``clipped`` (``id samples`` where resampling exceeded full scale) and ``silent`` (``id
    samples`` of nothing but zeros). The samples of audio that is 16-bit
    mono at ``fs`` are not changed.

    Raises UserError with all faulty audio of the slice, to which belongs that of which the conversion leaves
    silence or far less than its channels have; the lists are then missing.
    """
    check_job(job, nj)
    check_rate(fs)
    if out.resolve() == data.resolve():
        raise UserError(
            f"--out {out} is the data directory itself: give another folder, e.g. dump/raw/{data.name}"
        )
    folder = split_folder(out, nj, job)
    shutil.rmtree(folder, ignore_errors=True)  # lists of an earlier run must not be taken for this one's
    copies = read_copies(data, speed_perturb, allow_pipes, with_text)
    first, last = len(copies) * (job - 1) // nj, len(copies) * job // nj
    shared = find_shared_audio((copy.utterance.audio, copy.utterance.channel) for copy in copies)
    wav_scp, num_samples, converted, clipped, silent = {}, {}, {}, {}, {}
    problems: list[str] = []
    for copy in tqdm(copies[first:last], desc=f"{data.name} {job}/{nj}", unit="utt", mininterval=1.0):
        utterance = copy.utterance
        try:
            recording = read_recording(utterance.audio, allow_pipes, utterance.start, utterance.end)
            channels = recording.samples.shape[1]
            chosen = utterance.choose_channel(channels, shared, channel)
            mono = mix_down(utterance.audio, recording.samples, chosen)
            # To play faster is to claim a higher sampling rate.
            samples, overshoots = quantise(convert(mono, recording.rate * copy.speed, fs))
            if not len(samples):
                raise UserError(f"{utterance.audio} is too short: nothing is left at {fs} Hz")
            if not samples.any() and mono.any():
                peak = np.abs(mono).max()
                raise UserError(f"{utterance.audio} is silent at 16 bits, its peak is {peak:.2g}: amplify it")
        except UserError as error:
            problems.append(f"{find_audio_list(data)}:{copy.line}: id {utterance.id}: {error}")
            continue
        path = out / "audio" / audio_file_name(utterance.id)
        write_atomically(path, lambda temporary, samples=samples: write_flac(temporary, samples, fs))
        wav_scp[utterance.id] = path
        num_samples[utterance.id] = len(samples)
        taken = f"{chosen}/{channels}" if chosen and channels > 1 else str(channels)
        stored = (recording.rate, taken, recording.subtype)
        if stored != (fs, "1", "PCM_16"):
            converted[utterance.id] = " ".join(map(str, stored))
        if overshoots:
            clipped[utterance.id] = overshoots
        if not samples.any():
            silent[utterance.id] = len(samples)
    raise_collected(problems, data)
    if clipped:
        print(f"warning: {_tell_clipped(clipped, ' at full scale')}: {name_some(clipped)}", file=sys.stderr)
    if silent:
        print(f"warning: {_tell_silent(silent)}: {name_some(silent)}", file=sys.stderr)
    write_list(folder / "utt2num_samples", num_samples)
    write_list(folder / "converted", converted)
    write_list(folder / "clipped", clipped)
    write_list(folder / "silent", silent)
    write_list(folder / "wav.scp", wav_scp)  # last: its presence says that the slice is complete


def _summarise(
    name: str, fs: int, num_samples: dict[str, int], converted: dict[str, str], clipped: dict[str, str],
    silent: dict[str, str], perturbed: int,
) -> str:  # fmt: skip
    """How many utterances there are, and how many of them were not 16-bit mono at ``fs``."""
    stored = [value.split(" ") for value in converted.values()]  # [rate, channels, subtype]
    resampled = Counter(int(rate) for rate, _, _ in stored if int(rate) != fs)
    chosen = sum("/" in channels for _, channels, _ in stored)
    rates = ", ".join(f"{rate} Hz: {number}" for rate, number in sorted(resampled.items()))
    line = (
        f"{name}: {count(len(num_samples), 'utterance')}, {sum(num_samples.values()) / fs / 3600:.2f} h; "
        f"{f'{perturbed} at another speed, ' if perturbed else ''}"
        f"resampled {resampled.total()}{f' ({rates})' if rates else ''}, "
        f"mixed down {sum(channels != '1' and '/' not in channels for _, channels, _ in stored)}, "
        f"{f'one channel taken of {chosen}, ' if chosen else ''}"
        f"requantised {sum(subtype != 'PCM_16' for _, _, subtype in stored)}"
    )
    line += f"; {_tell_clipped(clipped)}" if clipped else ""
    return f"{line}; {_tell_silent(silent)}: {name_some(silent)}" if silent else line


def _tell_silent(silent: Mapping[str, int | str]) -> str:
    return f"nothing but zeros in {count(len(silent), 'utterance')}"


def read_flac_md5(path: Path) -> str:
    """The MD5 of the samples of a flac file, in hexadecimal, from its header (STREAMINFO, RFC 9639)."""
    with open(path, "rb") as file:
        header = file.read(42)
    assert header[:4] == b"fLaC" and header[4] & 0x7F == 0, path
    return header[26:].hex()


def _tell_clipped(clipped: Mapping[str, int | str], where: str = "") -> str:
    samples = count(sum(map(int, clipped.values())), "sample")
    return f"clipped {samples}{where} in {count(len(clipped), 'utterance')}"


def merge_slices(
    data: Path,
    out: Path,
    nj: int,
    speed_perturb: str = "",
    allow_pipes: bool = False,
    rules: TextRules | None = None,
    with_text: bool = True,
) -> str:
    """Merge the lists of the ``nj`` slices into those of ``out``, and remove the slices; returns a summary.

    Writes ``wav.scp`` (paths as ``out`` was given), ``text`` if ``data`` has one and ``with_text`` is set,
    ``utt2spk``, ``spk2utt``, ``utt2num_samples`` and ``utt2md5``, of the samples. If there are factors, they
    are written to ``speed_perturb``, so that the copies are never decoded. Texts are spelt by ``rules``.

    Raises UserError if a slice is missing, an utterance of ``data`` (or a copy, with the ``speed_perturb`` of
    the jobs) is not there exactly once, its audio is gone, the slices differ in their sampling rate, or the
    rules leave nothing of a text.
    """
    if nj < 1:
        raise UserError(f"--nj {nj}: the number of jobs must be positive")
    copies = read_copies(data, speed_perturb, allow_pipes, with_text)
    problems: list[str] = []
    owner: dict[str, int] = {}
    wav_scp, num_samples, converted, clipped, silent, rates = {}, {}, {}, {}, {}, {}
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
        for name, into in (("converted", converted), ("clipped", clipped), ("silent", silent)):
            entries = read_list(folder / name, problems, may_be_empty=True)
            into |= {utterance: entry.value for utterance, entry in entries.items()}
    wanted = {copy.utterance.id for copy in copies}
    if not problems:
        problems += tell_ids(
            "run all jobs again",
            (wanted - (num_samples.keys() & wav_scp.keys()), f"of {data} in no slice"),
            (wav_scp.keys() - wanted, f"in the slices but not in {data}"),
        )
    if len(set(rates.values())) > 1:
        problems.append(
            f"the jobs wrote different sampling rates ({sorted(set(rates.values()))} Hz): run all jobs again"
        )
    spelt = [replace(c.utterance, text=(rules or TextRules()).apply(c.utterance.text)) for c in copies]
    for copy, utterance in zip(copies, spelt, strict=True):
        if copy.utterance.text and not utterance.text:
            problems.append(f"{data / 'text'}: id {utterance.id}{EMPTIED}")
    raise_collected(problems, out)
    write_dump_lists(out, [replace(each, audio=wav_scp[each.id]) for each in spelt], num_samples)
    # Two recordings can have flac files of one size: what is made of them belongs to their samples.
    write_list(out / "utt2md5", {each.id: read_flac_md5(wav_scp[each.id]) for each in spelt})
    if speed_perturb:
        write_text(out / "speed_perturb", [speed_perturb])
    else:
        (out / "speed_perturb").unlink(missing_ok=True)
    shutil.rmtree(out / f"split{nj}")
    perturbed = sum(copy.speed != 1 for copy in copies)
    return _summarise(
        out.name, next(iter(rates.values())), num_samples, converted, clipped, silent, perturbed
    )
