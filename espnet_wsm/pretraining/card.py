"""The model card of a pre-trained upstream, written from the records of its training."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_file, write_text
from espnet_wsm.frames import HOP, SAMPLE_RATE
from espnet_wsm.pretraining.licences import LICENCES, WEIGHTS, UsedSource
from espnet_wsm.pretraining.records import Iteration
from espnet_wsm.tables import render_table

PRIVATE = """
**Not to be given away**: it was exported for whoever has trained it, without a licence.
"""
LEFT_OUT = """
- Recordings under {licences} were left out: that licence and CC-BY-SA exclude each other, and nobody could
  be given weights made of both."""
# Filled by str.format: two paragraphs that may be missing need no jinja2.
CARD = Path(__file__).with_name("card.md")
PROBE = re.compile(r"^## Probe\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
VERDICTS = {  # of probe_upstream -> of the card
    "features better": "better than log-mel",
    "log-mel better": "worse than log-mel",
    "no difference": "no difference to log-mel was found",
}
FRAMES_PER_HOUR = 3600 * SAMPLE_RATE / HOP


def find_card(directory: Path) -> Path:
    """The card of an exported model.

    Raises:
        UserError: there is no card, or it has no place for a probe.
    """
    card = Path(directory) / "README.md"
    if not card.is_file() or not PROBE.search(card.read_text(encoding="utf-8")):
        raise UserError(f"{card} is no model card with a section Probe: export the model with --sources")
    return card


def put_probe(directory: Path, probe: dict[str, Any]) -> None:
    """Write the results of ``probe_upstream`` to the card of the model in ``directory``."""
    card = find_card(directory)
    section = f"## Probe\n\n{_describe_probe(probe)}\n\n"
    text = PROBE.sub(lambda _: section, card.read_text(encoding="utf-8"), count=1)
    write_text(card, text.removesuffix("\n").split("\n"))


def write_card(
    directory: Path,
    parameters: int,
    sources: Sequence[UsedSource],
    iterations: dict[str, Iteration],
    private: bool,
) -> str:
    """The ``README.md`` of the model in ``directory``, without a probe.

    Args:
        directory: folder with the files of the model.
        parameters: number of its parameters.
        sources: the recordings it was trained on.
        iterations: iterations by name; the model is that of the last one.
        private: whether it must not be published.
    """
    *_, last = iterations.values()
    conf = last.settings["encoder_conf"]
    languages = sorted({source.language for source in sources})
    alien = ", ".join(name for name, licence in LICENCES.items() if not licence.fits)
    template = CARD.read_text(encoding="utf-8").removesuffix("\n")
    return template.format(
        licence_id="other" if private else WEIGHTS.lower(),
        millions=parameters / 1e6,
        hours=_count_hours(last),
        recorded=sum(source.minutes for source in sources) / 60,
        languages=", ".join(languages),
        num_languages=count(len(languages), "language"),
        num_sources=count(len(sources), "source"),
        private=PRIVATE if private else "",
        rate=SAMPLE_RATE // HOP,
        dim=conf["encoder_embed_dim"],
        layers=conf["encoder_num_layers"],
        left_out="" if private else LEFT_OUT.format(licences=alien),
        data=_make_table(
            ("source", "language", "minutes", "Debian package", "holder", "licence"),
            [
                (each.name, each.language, f"{each.minutes:.1f}", each.package, each.holder, each.licence)
                for each in sources
            ],
        ),
        training=_make_table(("", *iterations), _describe_training(list(iterations.values()))),
        curves=_make_table(
            ("", "epoch", "loss, train", "loss, valid", "accuracy, train", "accuracy, valid"),
            [row for name, iteration in iterations.items() for row in _describe_curve(name, iteration)],
        ),
        parameters=parameters,
        files=_make_table(
            ("file", "bytes", "SHA-256"),
            [
                (file.name, f"{file.stat().st_size:,}", f"`{digest_file(file)}`")
                for file in sorted(directory.iterdir())
            ],
        ),
        licence=PRIVATE.strip() if private else f"{WEIGHTS}. [LICENSE](LICENSE) has what goes with it.",
    )


def _count_hours(iteration: Iteration) -> float:
    """Hours of training speech, without copies at other speeds."""
    copies = sum(1 / float(speed) for speed in iteration.speeds.split())
    return iteration.frames["train"] / FRAMES_PER_HOUR / copies


def _describe_training(iterations: list[Iteration]) -> list[tuple[str, ...]]:
    def rows(iteration: Iteration) -> Iterable[tuple[str, str]]:
        settings = iteration.settings
        conf = settings["encoder_conf"]
        hours = {part: frames / FRAMES_PER_HOUR for part, frames in iteration.frames.items()}
        start = ", ".join(param.partition(":")[0] for param in settings.get("init_param") or ())
        yield "targets", f"{iteration.num_clusters} k-means clusters"
        yield "clustered", iteration.features or "not recorded"
        yield "started from", f"the weights of {start}" if start else "random weights"
        yield "speech, train", f"{hours['train']:.2f} h, at speeds {iteration.speeds}"
        yield "speech, valid", f"{hours['valid']:.2f} h"
        yield "layers", f"{conf['encoder_num_layers']} of {conf['encoder_embed_dim']}"
        yield "heads", str(conf["encoder_num_heads"])
        yield "feed-forward", str(conf["encoder_ff_interm_features"])
        yield "convolutions", " ".join(str(channels) for channels, *_ in conf["extractor_conv_layer_config"])
        yield "masked", f"spans of {conf['mask_length']} frames, probability {conf['mask_prob']}"
        yield "precision", conf.get("dtype", settings["train_dtype"])
        optim = ", ".join(f"{key} {value}" for key, value in settings["optim_conf"].items())
        schedule = ", ".join(f"{key} {value}" for key, value in settings["scheduler_conf"].items())
        yield "optimiser", f"{settings['optim']}: {optim}"
        yield "schedule", f"{settings['scheduler']}: {schedule}"
        yield "batch", f"{settings['batch_type']}, batch_bins {settings['batch_bins']}"
        yield "epochs", str(len(iteration.epochs))
        yield "steps", str(iteration.steps)
        yield "averaged", f"epochs {', '.join(map(str, sorted(iteration.averaged)))}"
        yield "seed", str(settings["seed"])
        yield "device", "; ".join(iteration.devices)
        yield "time", f"{iteration.seconds:.0f} s ({iteration.seconds / 3600:.1f} h)"
        yield "date", iteration.run["date"]
        yield "git", iteration.run["git"]
        yield "command", f"`{iteration.run['command']}`"

    columns = [dict(rows(iteration)) for iteration in iterations]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def _describe_curve(name: str, iteration: Iteration) -> Iterable[tuple[str, ...]]:
    for epoch in dict.fromkeys((min(iteration.epochs), max(iteration.epochs))):
        train, valid = iteration.epochs[epoch]["train"], iteration.epochs[epoch]["valid"]
        losses = f"{train.loss:.3f}", f"{valid.loss:.3f}"
        yield (name, str(epoch), *losses, f"{train.accuracy:.1%}", f"{valid.accuracy:.1%}")


def _describe_probe(probe: dict[str, Any]) -> str:
    rows = [_describe_probed(row) for row in probe["results"]]
    table = _make_table(
        ("features", "dev CER", "test CER", "95 % interval", "below log-mel", "95 % interval"), rows
    )
    best = {
        kind: min((row for row in probe["results"] if row["kind"] == kind), key=lambda row: row["dev_cer"])
        for kind in ("upstream", "random")
    }
    verdicts = (
        f"Of {name}, {best[kind]['features']} is best on dev: on test {VERDICTS[best[kind]['better']]}."
        for kind, name in (("upstream", "this upstream"), ("random", "random weights"))
    )
    return (
        "Character error rate of a linear layer with CTC on frozen features, trained on "
        f"{probe['minutes']['train']:.1f} minutes of {probe['data']} for up to {probe['max_epoch']} epochs, "
        f"{probe['patience']} without progress, after a start by cross-entropy on a uniform alignment "
        f"(seed {probe['seed']}; learning rate and epoch chosen on dev). Random: the same architecture with "
        f"random weights. Intervals: bootstrap over the {len(probe['test_characters'])} test utterances; "
        "below log-mel: in points of CER, above 0 the features are better than log-mel.\n\n"
        f"{' '.join(verdicts)}\n\n{table}"
    )


def _describe_probed(row: dict[str, Any]) -> tuple[str, ...]:
    cells = (
        f"{row['dev_cer']:.1f} %",
        f"{row['test_cer']:.1f} %",
        "{:.1f} to {:.1f}".format(*row["interval"]),
    )
    gain = ("–", "–")
    if row["kind"] != "log-mel":
        gain = f"{row['gain'][0]:+.1f}", "{:+.1f} to {:+.1f}".format(*row["gain"][1:])
    return (str(row["features"]), *cells, *gain)


def _make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head, *rows = ([cell.replace("|", r"\|") for cell in line] for line in (head, *rows))
    return render_table(head, rows, padded=False)
