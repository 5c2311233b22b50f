"""A suggestion: the rules applied to a corpus and a machine, the command line, and how both are shown."""

import os
import re
import shlex
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from espnet_wsm.advice.case import TRIAL_MINUTES, Case
from espnet_wsm.advice.cautions import CAUTIONS
from espnet_wsm.advice.corpus import Corpus
from espnet_wsm.advice.evidence import ROOT, read_card_limit, read_evidence
from espnet_wsm.advice.machine import Machine
from espnet_wsm.advice.rules import NOT_MEASURED, RULES
from espnet_wsm.advice.upstreams import ALTERNATIVES, UPSTREAMS
from espnet_wsm.experiments.runner import options_of
from espnet_wsm.experiments.runs import Run
from espnet_wsm.frames import SAMPLE_RATE

WIDTH = 110
SETS = ("train", "dev", "test")
MANIFEST = ROOT / "egs/manifest/asr1"


@dataclass(frozen=True)
class Setting:
    """One setting with its reason."""

    name: str
    value: str
    why: str
    source: str


@dataclass(frozen=True)
class Trial:
    """An upstream to try, why, and the commands, for where the user stands."""

    name: str
    why: str
    source: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Suggestion:
    """What is suggested.

    Args:
        case: corpus, machine, upstream, evidence.
        settings: in the order of the table.
        cautions: sentences.
        alternatives: upstreams without measurements of ours that are worth a run.
        commands: that which fetches the upstream, if it is not there, and the line of run.sh.
    """

    case: Case
    settings: tuple[Setting, ...]
    cautions: tuple[str, ...]
    alternatives: tuple[Trial, ...]
    commands: tuple[str, ...]


def suggest(corpus: Corpus, machine: Machine) -> Suggestion:
    """Apply the rules.

    Raises:
        UserError: the records of the experiments are not there.
    """
    tiny = corpus.minutes is not None and corpus.minutes < TRIAL_MINUTES
    name = "box" if tiny else "whisper_base"
    upstream = UPSTREAMS[name]
    case = Case(corpus, machine, name, read_evidence(upstream.grid, upstream.results))
    settings = []
    for setting, rules in RULES.items():
        rule = next(rule for rule in rules if rule.fits(case))
        settings.append(Setting(setting, rule.value(case), rule.why(case), rule.source(case)))
    path = _from_here(ROOT / upstream.path)
    commands = []
    if upstream.fetched_as and not (ROOT / upstream.path).is_dir():
        commands.append(shlex.join(["espnet-wsm", "fetch_upstream", upstream.fetched_as, "--to", path]))
    evidence = case.evidence
    run = Run("", case.arm, case.depth, None, 0, lr=evidence.rates[case.arm])
    words = ["--tag", f"suggested_{upstream.name}", "--upstream", path, *_list_common_options(case)]
    words += options_of(run, _list_trainer_arguments(case), evidence.grid.transfer)
    return Suggestion(
        case=case,
        settings=tuple(settings),
        cautions=tuple(caution.says(case) for caution in CAUTIONS if caution.fits(case)),
        alternatives=() if tiny else tuple(_list_alternatives(case)),
        commands=(*commands, _join_command(corpus, words)),
    )


def _join_command(corpus: Corpus, words: list[str]) -> str:
    """The line of run.sh."""
    program = _from_here(_choose_recipe(corpus.directory) / "run.sh")
    return shlex.join([program if "/" in program else f"./{program}", *_list_data_options(corpus), *words])


def _from_here(path: Path) -> str:
    """A path inside the project as seen from where the user stands; from outside of it, the full one."""
    here = Path.cwd()
    return os.path.relpath(path, here) if here.is_relative_to(ROOT) else str(path)


def find_recipe(directory: Path) -> Path | None:
    """The recipe whose ``data`` the directory is in, from which the paths in its lists count."""
    for parent in Path(os.path.abspath(directory)).parents:
        if parent.name == "data" and (parent.parent / "run.sh").is_file():
            return parent.parent
    return None


def _choose_recipe(directory: Path) -> Path:
    """That of the directory, else the one for all corpora."""
    return find_recipe(directory) or MANIFEST


def _list_data_options(corpus: Corpus) -> list[str]:
    """The options that name the data."""
    place = Path(os.path.abspath(corpus.directory))
    recipe = _choose_recipe(place)
    words = ["--allow_pipes", "true"] if corpus.has_pipes else []
    if recipe != MANIFEST or place.is_relative_to(MANIFEST / "data"):
        *languages, name = place.relative_to(recipe / "data").parts
        words = ["--stage", "2", *(["--lang", languages[0]] if languages else []), *words]
        return [*words, *(["--train_set", name] if name != "train" else [])]
    named = all((place.parent / name / "wav.scp").is_file() for name in SETS)
    folder = corpus.directory.parent if place.name in SETS and named else corpus.directory
    if not folder.is_absolute() and not Path.cwd().is_relative_to(ROOT):
        folder = Path(os.path.abspath(folder))
    return ["--downloads", str(folder), *words]


def _list_common_options(case: Case) -> list[str]:
    """The options of run.sh that the arm has no part in: those of the grid, of tokens and of the machine."""
    machine, grid = case.machine, case.evidence.grid
    options = {name: value for name, value in grid.recipe_options.items() if name != "asr_args"}
    options |= {"token_type": "char", "nj": str(1 if machine.ngpu else machine.cores)}
    options |= {"ngpu": str(machine.ngpu)} if machine.ngpu else {"num_threads": str(machine.cores)}
    if _choose_recipe(case.corpus.directory) != MANIFEST:  # which may have a configuration of its own
        options["train_config"] = _from_here(ROOT / "conf" / Path(grid.train_config).name)
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _list_trainer_arguments(case: Case) -> str:
    """Arguments of asr_train: those of the grid, with the steps and the batch of the case."""
    training = dict(case.evidence.training)
    training["max_epoch"] = str(case.steps // int(training["num_iters_per_epoch"]))
    training["batch_bins"] = str(round(case.batch_seconds * SAMPLE_RATE))
    training["scheduler_conf"] = f"max_steps={case.steps}"
    return " ".join(f"--{name} {value}" for name, value in training.items())


def _list_alternatives(case: Case) -> list[Trial]:
    """Larger upstreams for the GPU that there is, none without one."""
    card = case.machine.gpu_memory_gb
    if not case.machine.ngpu or card is None:
        return []
    found = []
    for other in ALTERNATIVES:
        limit = read_card_limit(other.name, card)
        if limit is None or limit < case.evidence.batch_seconds:
            continue
        path = _from_here(ROOT / "upstreams" / other.name)
        config = _from_here(ROOT / "conf/upstream" / f"{other.name}.yaml")
        words = ["--tag", f"suggested_{other.name}", "--upstream_config", config, "--upstream", path]
        words += [*_list_common_options(case), "--asr_args", _list_trainer_arguments(case)]
        fetch = shlex.join(["espnet-wsm", "fetch_upstream", other.fetched_as, "--to", path])
        why = f"{other.why}. About {limit:.0f} s of audio fit on this GPU. {NOT_MEASURED.capitalize()}: its "
        why += "settings are starting points"
        found.append(Trial(other.name, why, other.source, (fetch, _join_command(case.corpus, words))))
    return found


def render_text(suggestion: Suggestion) -> str:
    """For a terminal."""
    case = suggestion.case
    lines = [f"data     {case.corpus.directory}: {case.corpus.describe()}"]
    lines += [f"machine  {case.machine.describe()}", ""]
    names, values = (
        max(len(getattr(each, part)) for each in suggestion.settings) for part in ("name", "value")
    )
    for each in suggestion.settings:
        lines += _wrap(f"{each.name:<{names}}  {each.value:<{values}}  ", f"{each.why} [{each.source}]")
    lines += ["", *(line for caution in suggestion.cautions for line in _wrap("caution: ", caution))]
    for each in suggestion.alternatives:
        lines += ["", *_wrap(f"also worth a run, {each.name}: ", f"{each.why} [{each.source}]", 2)]
        lines += each.commands
    lines += ["", *suggestion.commands]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines))


def _wrap(head: str, text: str, indent: int | None = None) -> list[str]:
    """Lines of text behind a head, the others indented as far, or by ``indent``."""
    first, *others = textwrap.wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False)
    if indent is not None:
        return textwrap.wrap(head + text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
    return [head + first, *(" " * len(head) + line for line in others)]


def as_record(suggestion: Suggestion) -> dict[str, Any]:
    """For JSON."""
    corpus, machine = suggestion.case.corpus, suggestion.case.machine
    data = {name: value for name, value in asdict(corpus).items() if name != "seconds"}
    data |= {"directory": str(corpus.directory), "minutes": corpus.minutes, "longest_seconds": corpus.longest}
    data["p95_seconds"] = corpus.quantile(0.95) if corpus.seconds else None
    return {
        "data": data,
        "machine": asdict(machine),
        "settings": [asdict(each) for each in suggestion.settings],
        "cautions": list(suggestion.cautions),
        "alternatives": [asdict(each) for each in suggestion.alternatives],
        "commands": list(suggestion.commands),
    }
