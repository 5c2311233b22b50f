"""Which weights may be published, under which licence, and with which notices."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import yaml

from espnet_wsm.errors import UserError

TABLE = Path(__file__).with_name("licences.yaml")
WEIGHTS = "CC-BY-SA-3.0"  # the licence of all published weights
WIDTH = 80


@dataclass(frozen=True)
class Licence:
    """What the licence of a recording means for weights trained on it.

    Whether weights are a derived work of the recordings is not settled. Here they are treated as one, because
    this violates nobody's terms.

    Args:
        url: address of its text; empty if the notice of the package is the text.
        fits: whether its terms allow weights under CC-BY-SA-3.0.
    """

    url: str = ""
    fits: bool = True


_TABLE = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
LICENCES = {name: Licence(**entry) for name, entry in _TABLE["licences"].items()}
NOTICES: dict[str, str] = _TABLE["notices"]
SHARE_ALIKE = ("CC-BY-SA-3.0", "CC-BY-SA-3.0-IT")
ADD_IT = "add it to espnet_wsm/pretraining/licences.yaml"


@dataclass(frozen=True)
class UsedSource:
    """Recordings that a model was trained on, as the recipe's ``sources.json`` has them.

    Args:
        name: name in the recipe.
        language: ISO 639-1 code.
        licence: a key of ``LICENCES``.
        holder: holder of the copyright.
        package: Debian package.
        minutes: duration without copies at other speeds.
    """

    name: str
    language: str
    licence: str
    holder: str
    package: str
    minutes: float


def read_sources(file: Path) -> list[UsedSource]:
    """Read ``sources.json``.

    Raises:
        UserError: the file is missing or damaged, or a licence or notice is unknown.
    """
    fields = ("language", "licence", "holder", "package", "minutes")
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        sources = [UsedSource(name, *(entry[field] for field in fields)) for name, entry in entries.items()]
    except FileNotFoundError:
        raise UserError(
            f"{file} does not exist: it says what the model was trained on; run stage 1"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error!r}): run stage 1 again") from error
    if not sources:
        raise UserError(f"{file} names no source: run stage 1 again")
    for source in sources:
        if source.licence not in LICENCES:
            known = ", ".join(LICENCES)
            raise UserError(
                f"{file}: licence {source.licence!r} of {source.name} is not one of {known}: {ADD_IT}"
            )
        if not LICENCES[source.licence].url and source.package not in NOTICES:
            raise UserError(
                f"{file}: {source.name} is {source.licence}, but no notice of {source.package} is known: "
                f"{ADD_IT}"
            )
    return sources


def refuse_exclusive(sources: list[UsedSource]) -> None:
    """Refuse sources whose combination allows no published weights.

    Raises:
        UserError: names a source that does not allow it, and one that allows no other licence.
    """
    alien = next((source for source in sources if not LICENCES[source.licence].fits), None)
    if alien is None:
        return
    strict = next((source for source in sources if source.licence in SHARE_ALIKE), None)
    reason = f", and {strict.name} ({strict.licence}) allows no other licence" if strict else ""
    raise UserError(
        f"{alien.name} ({alien.licence}) does not allow weights under {WEIGHTS}{reason}: pre-train without "
        "either, or export for yourself alone with --private true"
    )


def write_licence(sources: list[UsedSource]) -> str:
    """The file ``LICENSE`` of weights trained on ``sources``."""
    head = (
        f"These weights are licensed under {WEIGHTS} (Creative Commons Attribution-ShareAlike 3.0 Unported), "
        f"{LICENCES[WEIGHTS].url}",
        "They were trained on the recordings below, which were modified for it: resampled, partly copied at "
        "other speeds, partly left out. Their holders have had no part in the weights and do not endorse "
        "them. The weights come as they are, without any warranty.",
    )
    parts = [textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False) for part in head]
    for source in sources:
        url = LICENCES[source.licence].url
        parts += [
            "-" * WIDTH + f"\n{source.name}, from the Debian package {source.package}\n"
            f"Copyright {source.holder}\nLicence: {source.licence}" + (f", {url}" if url else ""),
            *([NOTICES[source.package]] if source.package in NOTICES else []),
        ]
    return "\n\n".join(parts)
