"""The page: its data as JSON, its template filled, one file written."""

import base64
import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.data.text.tokens import SPACE
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.recognition.calibration import CALIBRATION, read_calibration
from espnet_wsm.report.audio import audio_folder, check_folder, place_audio
from espnet_wsm.report.charts import draw_bins, draw_curves, make_chart
from espnet_wsm.report.comparison import check_same_texts, compare_sets, share_sets
from espnet_wsm.report.curves import Curves, read_curves
from espnet_wsm.report.decoded import Decoded, Utterance, read_decoded
from espnet_wsm.report.experiment import Experiment
from espnet_wsm.report.frequent_errors import find_frequent_errors
from espnet_wsm.scoring.correction import describe_correction
from espnet_wsm.scoring.python_scorer import Counts, ScorerResult
from espnet_wsm.scoring.results import NONE
from espnet_wsm.scoring.trn import TextPair

SHOWN_SPACE = "␣"
RATES = {"wer": "WER", "cer": "CER", "gcer": "GCER, by graphemes"}


@dataclass(frozen=True)
class System:
    """An experiment with one decoding; ``badge`` is A or B, or nothing for a single one."""

    badge: str
    experiment: Experiment
    sets: tuple[Decoded, ...]
    curves: Curves
    reliability: str | None  # data URI of confidence.png
    calibrated: bool


def write_report(
    experiments: Sequence[Experiment], page: Path, audio: str = "auto", overwrite: bool = False
) -> Path:
    """Write the page of one experiment, or of two side by side.

    Args:
        experiments: one or two, see `experiment.read_experiment`.
        page: the HTML file.
        audio: key of `audio.PLACES`.
        overwrite: whether an earlier page, and its folder of audio, may be replaced.

    Raises:
        UserError: something cannot be read, does not belong together, or is there already.
    """
    if page.is_dir():
        raise UserError(f"{page} is a folder: name a file, e.g. {page / 'report.html'}")
    if page.exists() and not overwrite:
        raise UserError(f"{page} is there already: --overwrite replaces it, or name another --out")
    if audio == "beside":
        check_folder(audio_folder(page), overwrite)
    names = share_sets(*experiments) if len(experiments) > 1 else None
    badges = ("A", "B") if names else ("",)
    systems = [_read_system(*pair, names) for pair in zip(badges, experiments, strict=True)]
    for sets in zip(*(system.sets for system in systems), strict=True):
        if len(sets) > 1:
            check_same_texts(*sets)
    entries = [
        (u.pair.id, one.audio.get(u.pair.id, ""), one.of.dump)
        for one in systems[0].sets
        for u in one.utterances
    ]
    sounds = place_audio(entries, audio, page, overwrite)
    html = render(systems, sounds.addresses, sounds.notes)
    write_text(page, html.split("\n"))
    return page


def _read_system(badge: str, experiment: Experiment, names: list[str] | None) -> System:
    calibration = None
    decoding = experiment.folder / experiment.decoding
    if (file := decoding / CALIBRATION).is_file():
        calibration, _ = read_calibration(file)
    picture = decoding / "confidence.png"
    return System(
        badge=badge,
        experiment=experiment,
        sets=tuple(
            read_decoded(one, experiment.symbols, calibration)
            for one in experiment.sets
            if names is None or one.name in names
        ),
        curves=read_curves(experiment.folder / "train.log"),
        reliability=_as_data_uri(picture) if picture.is_file() else None,
        calibrated=calibration is not None,
    )


def _as_data_uri(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def render(systems: Sequence[System], addresses: list[str | None], notes: Sequence[str] = ()) -> str:
    """The HTML of one or two systems on the same utterances.

    Args:
        systems: what was read.
        addresses: of the audio, one an utterance of all sets.
        notes: what has to be said besides what the systems say.
    """
    environment = Environment(
        loader=PackageLoader("espnet_wsm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Characters as they are: a page in another script would be three times as large.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters["correction"] = describe_correction
    style, script = (
        environment.loader.get_source(environment, f"report.{kind}")[0] for kind in ("css", "js")
    )
    return environment.get_template("report.html").render(
        systems=systems,
        title=" and ".join(dict.fromkeys(system.experiment.name for system in systems)),
        style=Markup(style),
        script=Markup(script),
        digests=[_digest(style), _digest(script)],
        rates=_list_rates(systems),
        verdicts=[
            sentence
            for sets in zip(*(system.sets for system in systems), strict=True)
            if len(sets) > 1
            for sentence in compare_sets(*sets)
        ],
        one_training=len({system.experiment.folder for system in systems}) == 1,
        charts=_draw(systems),
        curves_note=_tell_missing_epochs(systems),
        speakers=(speakers := _list_speakers(systems)),
        most_errors=max(one.error_rate for row in speakers for one in row["counts"]),
        facts=_list_facts(systems),
        frequent=[(system.badge, group) for system in systems for group in _list_frequent(system)],
        notes=[*dict.fromkeys((*_list_notes(systems), *notes))],
        data=make_data(systems, addresses),
    )


def _digest(text: str) -> str:
    """For the page's content security policy, which lets nothing else run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _list_notes(systems: Sequence[System]) -> list[str]:
    notes = []
    for system in systems:
        prefix = f"{system.badge}: " if system.badge else ""
        told = [*system.experiment.notes, *(note for one in system.sets for note in one.notes)]
        notes += [f"{prefix}{note}" for note in told]
    return notes


def _list_facts(systems: Sequence[System]) -> list[tuple[str, list[str]]]:
    """Names, each with a value of every system."""
    found = []
    for system in systems:
        facts = dict(system.experiment.facts)
        if system.curves.seconds:
            epochs = count(len(system.curves.epochs), "epoch")
            facts["Training time"] = f"{_show_time(system.curves.seconds)} ({epochs} in train.log)"
        if command := facts.pop("Command", None):
            facts["Command"] = command  # the longest comes last
        found.append(facts)
    names = dict.fromkeys(name for facts in found for name in facts)
    return [(name, [facts.get(name, NONE) for facts in found]) for name in names]


def _show_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _list_rates(systems: Sequence[System]) -> list[dict[str, Any]]:
    """The rows of the table of error rates: by set, rate and system, with both scorers."""
    rows = []
    for sets in zip(*(system.sets for system in systems), strict=True):
        for metric, label in RATES.items():
            for system, one in zip(systems, sets, strict=True):
                found = one.scores.get(metric)
                if found is None or (metric == "gcer" and _same(one.scores, "cer", "gcer")):
                    continue
                row = {"set": one.of.name, "metric": metric, "rate": label, "badge": system.badge}
                row["correction"] = one.correction if metric == "wer" else None
                rows.append(row | {"sclite": found["sclite"], "python": found["python"]})
    return rows


def _same(scores: dict[str, dict[str, ScorerResult]], *metrics: str) -> bool:
    first, second = (scores[metric]["python"].counts for metric in metrics)
    return first == second


def _draw(systems: Sequence[System]) -> list[Any]:
    lines: dict[str, list] = {"loss": [], "CER": []}
    for look, system in zip("ab", systems, strict=False):
        for what, series in draw_curves(system.badge, system.curves, look).items():
            lines[what] += series
    drawn = [
        make_chart("Loss by epoch", "epoch", "loss", lines["loss"], from_zero=False, whole=True),
        make_chart("CER by epoch", "epoch", "CER, %", lines["CER"], whole=True),
    ]
    return [*filter(None, drawn), *draw_bins([(system.badge, system.sets) for system in systems])]


def _tell_missing_epochs(systems: Sequence[System]) -> str:
    told = []
    for system in systems:
        epochs = system.curves.epochs
        if epochs and epochs[0] > 1:
            name = f"{system.badge}: " if system.badge else ""
            told.append(f"{name}the training was resumed after epoch {epochs[0] - 1}, where its log begins.")
    return " ".join(told)


def _list_speakers(systems: Sequence[System]) -> list[dict[str, Any]]:
    """Speakers with their sizes and the CER of each system, most errors of the first system first."""
    found: dict[str, dict[str, Any]] = {}
    for number, system in enumerate(systems):
        for one in system.sets:
            for utterance in one.utterances:
                row = found.setdefault(
                    utterance.pair.speaker,
                    {"utterances": 0, "seconds": 0.0, "counts": [Counts()] * len(systems)},
                )
                row["counts"][number] += utterance.characters
                if number == 0:
                    row["utterances"] += 1
                    row["seconds"] += one.seconds.get(utterance.pair.id, 0.0)
    rows = [{"speaker": speaker, **row} for speaker, row in found.items()]
    return sorted(rows, key=lambda row: (-row["counts"][0].error_rate, row["speaker"]))


def _list_frequent(system: System) -> list[dict[str, Any]]:
    """Words, where they are told apart, and characters."""
    graphemes = [pair for one in system.sets for pair in one.graphemes]
    groups = [("Characters", find_frequent_errors([_show_marks(pair) for pair in graphemes]), False)]
    if all(one.by_words for one in system.sets):
        utterances = [u for one in system.sets for u in one.utterances]
        words = find_frequent_errors([u.pair for u in utterances], [u.steps for u in utterances])
        groups.insert(0, ("Words", words, True))
    return [{"title": title, "errors": errors, "words": words} for title, errors, words in groups]


def show_mark(token: str) -> str:
    """A token that can be seen by itself: a space as a sign, a combining character on a circle."""
    if token == SPACE:
        return SHOWN_SPACE
    return f"◌{token}" if unicodedata.category(token[0])[0] == "M" else token


def _show_marks(pair: TextPair) -> TextPair:
    sides = (tuple(map(show_mark, side)) for side in (pair.reference, pair.hypothesis))
    return TextPair(pair.id, pair.speaker, *sides)


def is_right_to_left(tokens: Sequence[str]) -> bool:
    """Whether the first letter of a text is of a script that runs from right to left."""
    for character in "".join(tokens):
        if (kind := unicodedata.bidirectional(character)) in ("L", "R", "AL"):
            return kind != "L"
    return False


def make_data(systems: Sequence[System], addresses: list[str | None]) -> dict[str, Any]:
    """What the page's script reads: one entry an utterance, with an entry in ``systems`` for each system."""
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    rows = []
    for place, sets in enumerate(zip(*(system.sets for system in systems), strict=True)):
        first = sets[0]
        for utterances in zip(*(one.utterances for one in sets), strict=True):
            pair = utterances[0].pair
            row = {
                "id": pair.id,
                "set": place,
                "speaker": numbers[pair.speaker],
                "reference": [show_mark(token) for token in pair.reference],
                "characters": utterances[0].characters.words,
                "systems": [_list_system(one) for one in utterances],
            }
            if pair.id in first.seconds:
                row["seconds"] = round(first.seconds[pair.id], 2)
            if address := addresses[len(rows)]:
                row["audio"] = address
            if is_right_to_left(pair.reference):
                row["rtl"] = True
            rows.append(row)
    return {
        "unit": "word" if all(one.by_words for one in systems[0].sets) else "character",
        "badges": [system.badge for system in systems],
        "sets": [one.of.name for one in systems[0].sets],
        "speakers": list(numbers),
        "utterances": rows,
    }


def _list_system(one: Utterance) -> dict[str, Any]:
    found = {
        "hypothesis": [show_mark(token) for token in one.pair.hypothesis],
        "steps": one.steps,
        "characterErrors": one.characters.errors,
    }
    if one.words:
        found["starts"] = [round(word.start, 2) for word in one.words]
    if one.confidence is not None:
        found["confidence"] = round(one.confidence, 3)
        found["confidences"] = [word.confidence and round(word.confidence, 2) for word in one.words]
    return found
