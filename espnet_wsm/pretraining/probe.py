"""How useful features are for speech recognition: log-mel, an upstream, and the same with random weights."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.lists import name_some
from espnet_wsm.data.text.tokens import Tokenizer
from espnet_wsm.errors import UserError
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.pretraining.extraction import count_frames, extract_dump
from espnet_wsm.pretraining.features import (
    NUM_MEL,
    Extractor,
    extract_log_mel,
    make_states_extractor,
)
from espnet_wsm.pretraining.linear_probe import LabelledFrames, LinearProbe, ProbeSettings, Score, find_rate
from espnet_wsm.tables import render_table
from espnet_wsm.upstream import find_checkpoint

TOKEN_LIST = "token_list/char"
MINUTE = 60 * SAMPLE_RATE // HOP  # frames


@dataclass(frozen=True)
class ProbeResult:
    """One row of the table.

    Args:
        features: description of the features.
        kind: ``log-mel``, ``upstream`` or ``random``.
        layer: layer of the upstream, None for log-mel.
        dev_cer: character error rate of the valid set in percent, with the best rate and epoch.
        test_cer: character error rate of the test set in percent.
        test_errors: errors in each utterance of the test set.
        learning_rate: the best learning rate.
        epoch: the best epoch.
        epochs: total number of epochs with all learning rates.
        seconds: duration of training.
    """

    features: str
    kind: str
    layer: int | None
    dev_cer: float
    test_cer: float
    test_errors: list[int]
    learning_rate: float
    epoch: int
    epochs: int
    seconds: float


def probe_upstream(
    upstream: str,
    dump: Path,
    score: Score,
    settings: ProbeSettings,
    layers: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Probe log-mel, an upstream, and the same architecture with random weights.

    Args:
        upstream: name or path.
        dump: what stage 2 of a recipe has made, with ``token_list/char``.
        score: counts errors of characters.
        settings: the effort.
        layers: of the upstream, 0 for what enters the lowest; None: all.

    Returns:
        ``upstream`` with its ``digest`` and ``family``, ``data``, ``minutes`` by set, the settings,
        ``test_characters`` of each utterance, and ``results``, a :class:`ProbeResult` each.

    Raises:
        UserError: a dump that is broken, unfinished or without texts; a test set of one utterance; an
            upstream that cannot be loaded.
    """
    if (dump / ".unfinished").exists():
        raise UserError(f"{dump} is unfinished: run stage 2 of its recipe again")
    tokenizer = Tokenizer(dump / TOKEN_LIST, "char")
    tokens = (dump / TOKEN_LIST / "tokens.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    probe = LinearProbe(tokens, score, settings)
    checkpoint = find_checkpoint(upstream)
    chosen, extract = make_states_extractor(upstream, layers)
    _, extract_random = make_states_extractor(upstream, layers, settings.seed)
    kinds: dict[str, tuple[Extractor, Sequence[int | None]]] = {
        "log-mel": (lambda waves: [mel[:, None] for mel in extract_log_mel(waves)], [None]),
        "upstream": (extract, chosen),
        "random": (extract_random, chosen),
    }
    directories = {
        "train": dump / "raw" / settings.train_set,
        "dev": dump / "raw" / settings.valid_set,
        "test": dump / "raw" / settings.test_set,
    }
    results: list[ProbeResult] = []
    sets: dict[str, LabelledFrames] = {}
    for kind, (function, numbers) in kinds.items():
        sets.clear()  # one kind at a time: all layers of an hour of speech take gigabytes
        for name, directory in directories.items():
            sets[name] = _collect(directory, function, tokenizer)
        if len(sets["test"].texts) < 2:
            raise UserError(f"{directories['test']} has one utterance: intervals need more, --test_set")
        with tqdm(total=len(numbers) * len(settings.learning_rates), desc=f"probe {kind}") as progress:
            for place, layer in enumerate(numbers):
                results.append(_probe_state(probe, kind, layer, sets, place, progress))
    texts = sets["test"].texts
    return {
        "upstream": upstream,
        "digest": checkpoint.digest,
        "family": checkpoint.family.name,
        "data": _name_recipe(dump),
        "minutes": {name: round(sum(labelled.lengths) / MINUTE, 2) for name, labelled in sets.items()},
        **asdict(settings),
        "test_characters": score(texts, texts)[1],
        "results": [asdict(result) for result in results],
    }


def _name_recipe(dump: Path) -> str:
    """The path of a dump in the tree of recipes; its absolute path means nothing elsewhere."""
    parts = dump.resolve().parts
    return "/".join(parts[parts.index("egs") :] if "egs" in parts else parts[-1:])


def _probe_state(
    probe: LinearProbe,
    kind: str,
    layer: int | None,
    sets: dict[str, LabelledFrames],
    place: int,
    progress: tqdm,
) -> ProbeResult:
    start = time.monotonic()
    train = sets["train"].features[place]
    mean, deviation = train.mean(0), train.std(0).clamp_min(1e-5)
    scaled = {name: ((each.features[place] - mean) / deviation, each) for name, each in sets.items()}
    runs = []
    for rate in probe.settings.learning_rates:
        runs.append((*probe.train(scaled, rate), rate))
        progress.update()
    linear, dev, epoch, _, rate = min(runs, key=lambda run: run[1])
    errors, characters = probe.count(linear, *scaled["test"])
    names = {"log-mel": f"log-mel {NUM_MEL}", "upstream": f"layer {layer}", "random": f"random layer {layer}"}
    return ProbeResult(
        features=names[kind],
        kind=kind,
        layer=layer,
        dev_cer=round(dev, 2),
        test_cer=round(find_rate(errors, characters), 2),
        test_errors=errors,
        learning_rate=rate,
        epoch=epoch,
        epochs=sum(run[3] for run in runs),
        seconds=round(time.monotonic() - start, 1),
    )


def _collect(directory: Path, extract: Extractor, tokenizer: Tokenizer) -> LabelledFrames:
    utterances, num_samples = read_dump(directory)
    if missing := [each.id for each in utterances if not each.text]:
        raise UserError(f"{directory / 'text'} has no text of {name_some(missing)}: a probe needs texts")
    total = sum(count_frames(num_samples[each.id]) for each in utterances)
    features, lengths, texts, end = None, [], [], 0
    for utterance, frames in extract_dump(directory, extract):
        if features is None:
            features = torch.empty(frames.size(1), total, frames.size(2))
        features[:, end : end + len(frames)] = frames.transpose(0, 1)
        lengths.append(len(frames))
        texts.append(utterance.text)
        end += len(frames)
    return LabelledFrames(features, lengths, texts, [torch.tensor(tokenizer.ids(text)) for text in texts])


def format_results(record: dict[str, Any]) -> str:
    """A table of the results of :func:`probe_upstream`, with the ``interval`` of each row."""
    head = ("features", "dev CER", "test CER", "95 % interval", "rate", "epoch", "s")
    rows = [
        (
            row["features"],
            f"{row['dev_cer']:.1f}",
            f"{row['test_cer']:.1f}",
            "{:.1f} to {:.1f}".format(*row["interval"]),
            f"{row['learning_rate']:g}",
            str(row["epoch"]),
            f"{row['seconds']:.0f}",
        )
        for row in record["results"]
    ]
    return render_table(head, rows, num_left=1)


def plot_results(record: dict[str, Any], file: Path) -> None:
    """Test error rates over the layers with their intervals, log-mel as a level and a band, as a picture.

    Args:
        record: result of :func:`probe_upstream`, with an ``interval`` in each row.
        file: file to write, in the format of its suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, style, shift in (("upstream", "o-", -0.06), ("random", "s--", 0.06)):
        rows = [row for row in record["results"] if row["kind"] == kind]
        layers = [row["layer"] + shift for row in rows]
        (line,) = axes.plot(layers, [row["test_cer"] for row in rows], style, label=kind)
        axes.vlines(layers, *zip(*(row["interval"] for row in rows), strict=True), color=line.get_color())
    for row in record["results"]:
        if row["kind"] == "log-mel":
            axes.axhline(row["test_cer"], color="grey", linestyle=":", label=row["features"])
            axes.axhspan(*row["interval"], color="grey", alpha=0.15)
    axes.set_xlabel("layer (0: below the lowest)")
    axes.set_ylabel("CER of test, %, and its 95 % interval")
    axes.set_title(f"{Path(record['upstream']).name}\non {record['data']}", fontsize="medium")
    figure.legend(loc="outside lower center", ncols=3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
