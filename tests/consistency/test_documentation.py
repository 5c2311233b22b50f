"""README, CONTRIBUTING, docs/ and the recipes' READMEs: what they say is there, and works."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml
from command_lines import find_missing_import, find_problems
from documents import (
    DOCUMENTS,
    ROOT,
    is_in_code,
    read_anchors,
    read_blocks,
    read_links,
    read_messages,
    read_scripts,
    read_templates,
)

from espnet_wsm.upstream.config import MIXER_NAMES, WsmConfig

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def find_broken_links(document, markdown: str) -> list[str]:
    broken = []
    for link in read_links(markdown):
        path, _, anchor = link.partition("#")
        file = document.parent / path if path else document
        # Each recipe's RESULTS.md is written by its stage 5.
        if not file.exists() and path != "RESULTS.md":
            broken.append(link)
        elif anchor and anchor not in read_anchors(file.read_text(encoding="utf-8") if path else markdown):
            broken.append(link)
    return broken


@each_document
def test_command_lines_are_those_of_their_programs(document):
    folder = ROOT if document.parent.name == "docs" else document.parent
    problems = [
        p
        for script in read_scripts(document.read_text(encoding="utf-8"))
        for p in find_problems(script, folder)
    ]
    assert not problems


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("./run.sh --langg fr", "unknown option --langg"),
        ("./run.sh --lang", "needs a value"),
        ("./run.sh --stage 7", "whole number from 1 to 5"),
        ("./run.sh --train_config ../../../conf/nothing.yaml", "does not exist"),
        ('./run.sh --cmd "../../../conf/cluster/pbs.sh --time 1"', "does not exist"),
        ('./run.sh --asr_args "--max_epochs 1"', "no option --max_epochs"),
        ('./run.sh --lm text --inference_args "--lm_wait 1"', "no option --lm_wait"),
        ("cd egs/asterisk/asr2", "does not exist"),
        ("espnet-wsm transcribe --modell exp/asr_X talk.mp3", "required: --model"),
        ("espnet-wsm annotate --model exp/asr_X", "required: FILE"),
        ("espnet-wsm transcirbe talk.mp3", "no command 'transcirbe'"),
        ("espnet-wsm compare_systems --ref a --hyp_a b --hyp_b c --unit letter", "invalid choice: 'letter'"),
        ("espnet-wsm asr_train --learning_rate 1", "no option --learning_rate"),
        ('eval "$(espnet-wsm completion zsh)"', "completion is for bash"),
        ("python -m espnet_wsm.bin.nothing", "no command 'nothing'"),
        ("python -m espnet2.bin.pack asr --output model.zip", "no option --output"),
        (
            "python -m torch.distributed.run --processes 2 -m espnet_wsm.bin.asr_train",
            "no option --processes",
        ),
        ("python tools/benchmark.py --configuration conf/benchmark/base.yaml", "required: --config"),
        ("python tools/nothing.py", "does not exist"),
        ("tools/new_corpus.sh mine --langue sn", "unknown option --langue"),
        ("tools/setup.sh --force", "no option --force"),
        ("tools/gpu_check.sh out --hours 1", "unrecognized arguments: --hours 1"),
        ("./run_all.sh --all", "unknown option --all"),
        ("./run_tests.sh tests/nothing", "knows no tests/nothing"),
        ("./run_tests.sh -m tedious", "knows no tedious"),
        ("mkdocs build --strictly", "--strictly"),
        ("make install", "no checker knows make"),
        ("tar xf a.tar && make install", "no checker knows make"),
    ],
)
def test_a_wrong_command_line_is_found(line, problem):
    (script,) = read_scripts(f"Text.\n\n```\n{line}\n```\n")
    (found,) = find_problems(script, ROOT)
    assert problem in found
    assert read_scripts(f"```text\n{line}\n```\n") == []


def test_a_wrong_command_in_a_sentence_is_found():
    (script,) = read_scripts("Call `espnet-wsm fetch_upstreams hubert` first, and `--lang` is an option.")
    assert "no command 'fetch_upstreams'" in find_problems(script, ROOT)[0]


@each_document
def test_links_lead_somewhere(document):
    assert find_broken_links(document, document.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found():
    text = (
        "# Heading, and `code`\n[a](docs/nothing.md) [b](#heading-and-code) [c](#none) [d](README.md#results)"
    )
    assert find_broken_links(ROOT / "README.md", text) == ["docs/nothing.md", "#none"]


@each_document
def test_snippets_compile_and_import_what_is_there(document):
    for block in read_blocks(document.read_text(encoding="utf-8")):
        if block.language == "python":
            assert find_missing_import(block.text) is None
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
        else:
            assert block.language in ("", "text"), block.language


@pytest.mark.parametrize(
    "code",
    [
        "from espnet_wsm.mixing import Nothing",
        "import espnet_wsm.nothing",
        "import espnet_wsm\nespnet_wsm.open('x')",
    ],
)
def test_a_wrong_import_is_found(code):
    assert find_missing_import(code)


def test_messages_of_the_troubleshooting_page_are_in_the_code():
    messages, templates = read_messages(read("docs/troubleshooting.md")), read_templates()
    assert len(messages) >= 25
    assert [message for message in messages if not is_in_code(message, templates)] == []
    assert not is_in_code("upstream … is not on this computer: …", templates)


def test_the_readme_is_short_and_its_results_are_those_of_the_report():
    readme, report = read("README.md"), read("RESULTS.md").splitlines()
    assert len(readme.splitlines()) < 150
    results = readme.partition("\n## Results\n")[2]
    rows = re.findall(r"^\| (?:upstream|whisper_base|hubert_debian_multi) .*$", results, re.MULTILINE)
    assert len(rows) >= 5 and set(rows) <= set(report)


def test_the_encoders_page_has_every_key_with_its_default_and_every_mixer():
    page = read("docs/encoder.md")
    blocks = [yaml.safe_load(block.text) for block in read_blocks(page) if block.language == "yaml"]
    (conf,) = [block for block in blocks if "encoder_conf" in block]
    defaults = {field.name: field.default for field in fields(WsmConfig)}
    assert conf["encoder_conf"] == defaults | {"upstream": conf["encoder_conf"]["upstream"]}
    for mixer in MIXER_NAMES:
        assert f"\n| `{mixer}` |" in page


def test_every_page_is_in_the_menu():
    menu = read("mkdocs.yml").partition("nav:")[2].partition("hooks:")[0]
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in menu


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr + result.stdout
    return folder


def test_the_site_has_what_pages_link_to_and_loads_nothing_from_elsewhere(site):
    recipe = (site / "repository/egs/asterisk/asr1/index.html").read_text(encoding="utf-8")
    assert "telephone prompts in five languages" in recipe
    assert (site / "repository/conf/train_ctc.yaml").is_file()
    tags = r"<(?:script|img|iframe|link [^>]*rel=\"?(?:stylesheet|preload|preconnect))"
    loads = tags + r"\b[^>]* (?:src|href)=\"?(?:https?:)?//"
    for page in site.rglob("*.html"):
        assert not re.search(loads, page.read_text(encoding="utf-8")), page


def test_the_site_has_the_docstrings_of_the_public_names(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in (
        "espnet_wsm.load",
        "espnet_wsm.mixing.WindowedSummaryMixing",
        "espnet_wsm.upstream.cut_upstream",
    ):
        assert f'id="{name}"' in page
    assert "half width in frames of 20 ms" in page
    assert ":class:" not in page and ":func:" not in page


def test_no_place_is_left_to_be_filled_in():
    for file in [*DOCUMENTS, ROOT / "CHANGELOG.md"]:
        assert not re.search(r"@[A-Z_]+@|TODO|FIXME", file.read_text(encoding="utf-8")), file


def test_the_project_speaks_of_itself_only():
    """No path of one machine in what is published."""
    for file in [*DOCUMENTS, ROOT / "CHANGELOG.md", *(ROOT / "espnet_wsm").rglob("*.py")]:
        assert not re.search(r"/(work|root|home)/", file.read_text(encoding="utf-8")), file
