"""Find everything that is wrong or suspicious in the data of a recipe, in one pass."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from tqdm import tqdm

from espnet_wsm.data.audio.channels import check_channel
from espnet_wsm.data.audio.faults import check_audio_exists, is_pipe
from espnet_wsm.data.audio.recordings import LARGEST_OVERSHOOT, Header, find_part, read_header
from espnet_wsm.data.kaldi.channels import find_shared_audio
from espnet_wsm.data.kaldi.directory import Utterance, find_audio_list, find_early_segments, inspect_data_dir
from espnet_wsm.data.kaldi.lists import SHOWN, byte_order, count, name_some, read_list
from espnet_wsm.data.text.rules import EMPTIED, TextRules
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE

# Characters per second are compared with the median of the set, in multiples of its robust deviation. Within
# a factor of three they are never suspicious.
FEWEST_FOR_OUTLIERS = 10
OUTLYING_DEVIATIONS = 5.0
OUTLYING_FACTOR = 3.0
PAUSE = 3.0  # seconds; a single letter is often surrounded by a long silence
MILLISECOND = 1e-3  # to which times are written
FRAMES_PER_SECOND = SAMPLE_RATE // HOP  # of the upstreams; CTC needs at least one frame per character


@dataclass(frozen=True)
class Measured:
    """An utterance and the header of its audio; None if the header was not read."""

    utterance: Utterance
    header: Header | None

    @property
    def seconds(self) -> float:
        """Duration; NaN if it is unknown."""
        return math.nan if self.header is None else self.header.seconds

    @property
    def num_characters(self) -> int:
        """Characters of the transcript, without white space and combining marks."""
        return sum(
            not char.isspace() and not unicodedata.category(char).startswith("M")
            for char in self.utterance.text
        )


@dataclass
class Survey:
    """What was found in a data directory.

    Args:
        directory: the folder of the lists.
        measured: the utterances without a fault.
        unusable: the reason by id, for utterances whose audio cannot be opened or whose transcript is empty
            after spelling.
        errors: what has to be corrected, each with file, line, id and remedy.
        warnings: what should be checked.
    """

    directory: Path
    measured: list[Measured] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def audio_list(self) -> Path:
        """``segments`` or ``wav.scp``."""
        return find_audio_list(self.directory)

    def __str__(self) -> str:
        speakers = len({each.utterance.speaker for each in self.measured})
        characters = sum(len(each.utterance.text) for each in self.measured)
        counts = ((len(self.measured), "utterance"), (speakers, "speaker"), (characters, "character"))
        line = f"{self.directory}: " + ", ".join(count(number, noun) for number, noun in counts)
        seconds = sum(each.seconds for each in self.measured)
        return line if math.isnan(seconds) else f"{line}, {seconds / 3600:.2f} h"


def survey_data_dir(
    directory: Path,
    need_text: bool | None = True,
    allow_pipes: bool = False,
    open_audio: bool = True,
    min_seconds: float = 0.1,
    max_seconds: float = 20.0,
    rules: TextRules | None = None,
    channel: int | None = None,
) -> Survey:
    """Check all lists of a data directory and all audio that they name.

    Args:
        directory: folder with ``wav.scp``, ``text``, ``utt2spk`` and perhaps ``segments``.
        need_text: whether a missing ``text`` is a fault; None: it is not read.
        allow_pipes: whether commands in place of audio are allowed; they are not run.
        open_audio: whether to read the headers, or only to check that the files exist.
        min_seconds: training leaves out shorter utterances.
        max_seconds: training leaves out longer utterances.
        rules: how stage 2 will spell the transcripts; they are surveyed in that spelling.
        channel: which one stage 2 will take where the directory names none; None = the mean.
    """
    directory = Path(directory)
    utterances, errors = inspect_data_dir(directory, need_text, allow_pipes)
    survey = Survey(directory, errors=errors)
    utterances = _spell(survey, utterances, rules or TextRules())
    lines = read_list(survey.audio_list, []) if utterances else {}
    shared = find_shared_audio((each.audio, each.channel) for each in utterances)
    headers: dict[str, Header] = {}  # a recording with many utterances is opened only once
    progress = tqdm(utterances, desc=str(directory), unit="utt", disable=None, mininterval=1, leave=False)
    for utterance in progress:
        try:
            header = None
            if is_pipe(utterance.audio):
                pass
            elif open_audio:
                audio = str(utterance.audio)
                headers[audio] = whole = headers.get(audio) or read_header(audio)
                check_channel(
                    audio, utterance.choose_channel(whole.channels, shared, channel), whole.channels
                )
                part = find_part(audio, whole.num_samples, whole.rate, utterance.start, utterance.end)
                header = replace(whole, num_samples=part[1] - part[0])
            else:
                check_audio_exists(utterance.audio)
            survey.measured.append(Measured(utterance, header))
        except UserError as error:
            line = lines[utterance.id].line
            survey.errors.append(f"{survey.audio_list}:{line}: id {utterance.id}: {error}")
            survey.unusable[utterance.id] = str(error)
    survey.warnings += [
        *_check_speaker_lists(directory),
        *_check_overshoots(survey, headers),
        *_check_same_audio(survey),
        *_check_rates(survey),
        *_check_miscounts(survey),
        *_check_durations(survey, min_seconds, max_seconds),
        *_check_speaking_rate(survey),
    ]
    return survey


def _spell(survey: Survey, utterances: Iterable[Utterance], rules: TextRules) -> list[Utterance]:
    """The utterances with transcripts as stage 2 will spell them, without those left with none."""
    path = survey.directory / "text"
    spelt = [replace(each, text=rules.apply(each.text)) for each in utterances if each.text]
    empty = [each.id for each in spelt if not each.text]
    lines = read_list(path, []) if empty else {}
    for id in empty:
        survey.errors.append(f"{path}:{lines[id].line}: id {id}{EMPTIED}")
        survey.unusable[id] = f"nothing is left of its transcript {lines[id].value!r}"
    return [each for each in spelt if each.text] + [each for each in utterances if not each.text]


def shorten(messages: Iterable[str]) -> list[str]:
    """At most ten messages about one file with the same remedy, and how many more there are."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for message in messages:
        kinds[re.split(r":\d*:? ", message)[0], message.rpartition(": ")[2]].append(message)
    shown = []
    for (file, remedy), alike in kinds.items():
        shown += alike[:SHOWN]
        if len(alike) > SHOWN:
            shown.append(f"{file}: {len(alike) - SHOWN} more of the last kind: {remedy}")
    return shown


def _check_speaker_lists(directory: Path) -> Iterable[str]:
    """``spk2utt`` has to agree with ``utt2spk``, because other tools read it."""
    path = directory / "spk2utt"
    if not path.exists():
        return
    expected = defaultdict(set)
    for id, entry in read_list(directory / "utt2spk", []).items():
        expected[entry.value].add(id)
    found = {speaker: set(entry.value.split(" ")) for speaker, entry in read_list(path, []).items()}
    if wrong := sorted((s for s in expected if found.get(s) != expected[s]), key=byte_order):
        yield f"{path}: not what utt2spk says for {name_some(wrong)}: `fix_data_dir` writes it anew"


def _check_overshoots(survey: Survey, headers: Mapping[str, Header]) -> Iterable[str]:
    """Segments that begin a little before their recording, or end a little after it."""
    over = find_early_segments(survey.directory, (each.utterance.id for each in survey.measured))
    for each in survey.measured:
        utterance, whole = each.utterance, headers.get(str(each.utterance.audio))
        if whole and utterance.end is not None and utterance.end > whole.seconds + MILLISECOND:
            over.append(utterance.id)
    if over := list(dict.fromkeys(over)):
        yield (
            f"{survey.audio_list}: {count(len(over), 'segment')} beginning before or ending after the "
            f"recording, by at most {LARGEST_OVERSHOOT:g} s: {name_some(over)}: clipped; see whether the "
            "times are right"
        )


def _check_same_audio(survey: Survey) -> Iterable[str]:
    ids = defaultdict(list)
    for each in survey.measured:
        utterance = each.utterance
        where = str(utterance.audio), utterance.start, utterance.end, utterance.channel
        ids[where].append(utterance.id)
    for (audio, *_), same in ids.items():
        if len(same) > 1:
            yield f"{survey.audio_list}: {audio} is the audio of {name_some(same)}: see which of them it is"


def _check_rates(survey: Survey) -> Iterable[str]:
    rates = Counter(each.header.rate for each in survey.measured if each.header)
    if len(rates) > 1:
        parts = ", ".join(f"{number} at {rate} Hz" for rate, number in rates.most_common())
        yield f"{survey.directory}: audio of several sampling rates ({parts}): see that none was mislabelled"


def _check_miscounts(survey: Survey) -> Iterable[str]:
    odd: dict[str, dict[str, None]] = defaultdict(dict)  # by what is wrong, the files
    for each in survey.measured:
        if each.header and each.header.miscount:
            odd[each.header.miscount][str(each.utterance.audio)] = None
    path = survey.directory / "wav.scp"
    for what, files in odd.items():
        yield (
            f"{path}: {count(len(files), 'file')} read to the end because {what}: {name_some(files)}: listen "
            "whether one of them is cut short"
        )


def _check_durations(survey: Survey, shortest: float, longest: float) -> Iterable[str]:
    for odd, what in (
        ([each for each in survey.measured if each.seconds < shortest], f"shorter than {shortest:g} s"),
        ([each for each in survey.measured if each.seconds > longest], f"longer than {longest:g} s"),
    ):
        if odd:
            names = name_some(f"{each.utterance.id} ({each.seconds:.2f} s)" for each in odd)
            yield (
                f"{survey.audio_list}: {count(len(odd), 'utterance')} {what}, which training "
                f"leaves out: {names}: cut or join them, or set --min_wav_duration and --max_wav_duration"
            )


def _check_speaking_rate(survey: Survey) -> Iterable[str]:
    """Transcripts that are far too long or too short for their audio."""
    rates = {
        each: each.num_characters / each.seconds
        for each in survey.measured
        if each.seconds > 0 and each.num_characters
    }
    path = survey.directory / "text"
    lines = read_list(path, []) if rates else {}
    middle, limit = 0.0, math.inf
    if len(rates) >= FEWEST_FOR_OUTLIERS:
        logs = [math.log(rate) for rate in rates.values()]
        middle = median(logs)
        deviation = 1.4826 * median(abs(value - middle) for value in logs)
        limit = max(OUTLYING_DEVIATIONS * deviation, math.log(OUTLYING_FACTOR))
    for each, rate in rates.items():
        id = each.utterance.id
        what = (
            f"{path}:{lines[id].line}: id {id}: {count(each.num_characters, 'character')} in "
            f"{each.seconds:.2f} s"
        )
        remedy = "listen whether the transcript belongs to this audio"
        if rate > FRAMES_PER_SECOND:
            yield f"{what}, more than CTC can tell ({FRAMES_PER_SECOND} a second): {remedy}"
        elif math.log(rate) - middle > limit or (middle - math.log(rate) > limit and each.seconds > PAUSE):
            yield f"{what}, {rate:.1f} a second where the median is {math.exp(middle):.1f}: {remedy}"


def compare_with_training(train: Survey, others: Sequence[Survey]) -> None:
    """Add errors and warnings to other sets about what they share with the training set.

    Audio in both is an error. Speakers or texts in both, and characters that training has not seen, are
    warnings.
    """
    audio = defaultdict(list)
    for each in train.measured:
        audio[str(each.utterance.audio)].append(each.utterance)
    speakers = {each.utterance.speaker for each in train.measured}
    texts = {_fold(each.utterance.text) for each in train.measured}
    characters = {char for each in train.measured for char in each.utterance.text}
    for survey in others:
        name, ids = survey.directory, [each.utterance for each in survey.measured]
        lines = read_list(survey.audio_list, []) if ids else {}
        for each in ids:
            same = [other.id for other in audio.get(str(each.audio), ()) if overlap(each, other)]
            if same:
                survey.errors.append(
                    f"{survey.audio_list}:{lines[each.id].line}: id {each.id}: {each.audio} is also the "
                    f"training utterance {name_some(same)}: take it out of one of the sets"
                )
        own = {each.speaker for each in ids if each.speaker != each.id}
        if shared := sorted(own & speakers, key=byte_order):
            survey.warnings.append(
                f"{name / 'utt2spk'}: {len(shared)} of {count(len(own), 'speaker')} also in "
                f"{train.directory}: {name_some(shared)}: scores say nothing about new speakers; split by "
                "speaker where you can"
            )
        same = [each for each in ids if each.text and _fold(each.text) in texts]
        if same:
            survey.warnings.append(
                f"{name / 'text'}: {len(same)} of {count(len(ids), 'transcript')} "
                f"({100 * len(same) / len(ids):.0f} %) also in {train.directory}: "
                f"{name_some(each.id for each in same)}: scores flatter; split by text where you can"
            )
        unseen = Counter(char for each in ids for char in each.text if char not in characters)
        if train.measured and unseen:
            shown = name_some(
                f"{char} (U+{ord(char):04X}, {count(number, 'time')})"
                for char, number in unseen.most_common()
            )
            survey.warnings.append(
                f"{name / 'text'}: {count(len(unseen), 'character')} that {train.directory} does not have: "
                f"{shown}: always wrong; normalise the text, or move utterances with them to training"
            )


def overlap(one: Utterance, other: Utterance) -> bool:
    """Whether two segments of the same audio overlap, unless they are of different channels."""
    if one.channel and other.channel and one.channel != other.channel:
        return False
    ends = [math.inf if each.end is None else each.end for each in (one, other)]
    return one.start < ends[1] and other.start < ends[0]


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
