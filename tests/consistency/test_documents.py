"""What the documents say is there."""

import re
from pathlib import Path

import pytest

from espnet_wsm.upstream.families import FAMILIES
from espnet_wsm.upstream.mixers import MIXER_NAMES

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "egs").glob("*/asr1/README.md"))]


def test_the_readme_names_every_mixer_and_every_supported_upstream():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for mixer in MIXER_NAMES:
        assert re.search(rf"\b{mixer}\b", readme), mixer
    for family in FAMILIES:
        assert any(f"`{pattern.removesuffix('_*')}" in readme for pattern in family.upstreams), family.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists() or target == "RESULTS.md", target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_options_in_the_documents_exist(document):
    """Every --option behind run.sh in a code block or span is declared."""
    declared = {
        name
        for file in (ROOT / "egs/common/lib.sh", *(ROOT / "egs").glob("*/asr1/run.sh"))
        for name in re.findall(r"^([a-z_]+)=[^#]*# ", file.read_text(encoding="utf-8"), re.MULTILINE)
    } | {"help"}
    for line in document.read_text(encoding="utf-8").splitlines():
        if "run.sh" in line:
            # Without values, which may hold options of others.
            words = re.sub(r'"[^"]*"', "", line.partition("run.sh")[2])
            used = re.findall(r"--([a-z_]+)", words)
            assert set(used) <= declared, line


def test_no_place_is_left_to_be_filled_in():
    for file in [*DOCUMENTS, ROOT / "CHANGELOG.md"]:
        assert not re.search(r"@[A-Z_]+@|TODO|FIXME", file.read_text(encoding="utf-8")), file


def test_the_project_speaks_of_itself_only():
    """No path of one machine in what is published."""
    for file in [*DOCUMENTS, ROOT / "CHANGELOG.md", *(ROOT / "espnet_wsm").rglob("*.py")]:
        assert not re.search(r"/(work|root|home)/", file.read_text(encoding="utf-8")), file
