"""The recipes that a grid runs."""

from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """A recipe and, if it has several, a language.

    Args:
        name: name in the grid.
        recipe: folder of its run.sh.
        lang: language; empty if the recipe has only one.
    """

    name: str
    recipe: Path
    lang: str

    def folder(self, name: str) -> Path:
        """``data``, ``dump`` or ``exp`` of this language."""
        return self.recipe / name / self.lang if self.lang else self.recipe / name

    @property
    def options(self) -> list[str]:
        """The options of run.sh that choose the corpus."""
        return ["--lang", self.lang] if self.lang else []


def find_corpus(root: Path, name: str) -> Corpus:
    """The recipe for a corpus of the grid: ``festvox_ru``, or ``asterisk_en`` in ``asterisk``.

    Raises:
        UserError: there is no such recipe.
    """
    recipe, _, lang = name.rpartition("_")
    for folder, language in ((name, ""), (recipe, lang)):
        if folder and (root / "egs" / folder / "asr1/run.sh").is_file():
            return Corpus(name, root / "egs" / folder / "asr1", language)
    there = ", ".join(sorted(path.parts[-3] for path in root.glob("egs/*/asr1/run.sh")))
    raise UserError(
        f"corpus {name}: there is no recipe egs/{name} or egs/{recipe or name}; there are {there}"
    )
