"""Ids, texts and names of files and folders are data: they pass every stage as they are, and run nothing."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import espnet_wsm
from espnet_wsm.bin import score, validate_data_dir
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.data.kaldi.lists import read_list
from espnet_wsm.errors import UserError
from espnet_wsm.stages import format_audio, make_tokens, merge_audio, select_utterances

CHARACTERS = "ab-_'\"`$();|&<>*?[]{}\\#!~%,:/.=é@^+"
CANARY = "touch canary"
WORDS = [
    f"$({CANARY})",
    f"`{CANARY}`",
    f"; {CANARY};",
    f"' {CANARY} '",
    "-rf",
    "--help",
    "%s",
    "{}",
    "(a)",
    "\\n",
    "*",
]
# Ids hold no blanks.
IDS = [
    "$(touch${IFS}canary)",
    "`touch${IFS}canary`",
    "a;touch${IFS}canary",
    "--output_dir",
    "-n",
    "it's",
    '"',
    "*",
    "(x-1)",
    "..",
    "a/b",
]


def make_data(folder: Path, audio: Path, texts: dict[str, str]) -> None:
    """A data directory of short noises, whose files are in ``audio`` under hostile names too."""
    audio.mkdir(exist_ok=True)
    utterances = []
    for number, (id, text) in enumerate(sorted(texts.items())):
        path = audio / f"{WORDS[number % len(WORDS)].replace('/', '_')} {number}.wav"
        noise = 0.1 * np.random.default_rng(number).standard_normal(24000)
        soundfile.write(path, noise, 16000, subtype="PCM_16")
        utterances.append(Utterance(id, path, text, id))
    write_data_dir(folder, utterances)


ids = st.text(CHARACTERS, min_size=1, max_size=12) | st.sampled_from(IDS)
texts = st.lists(
    st.text("AB" + CHARACTERS, min_size=1, max_size=8) | st.sampled_from(WORDS),
    min_size=1,
    max_size=3,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(ids, texts.map(" ".join), min_size=2, max_size=4))
def test_hostile_data_is_formatted_and_scored_as_it_is(tmp_path, monkeypatch, given_texts):
    root = tmp_path / "wor king"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    monkeypatch.chdir(root)
    data, dump, tokens = Path("da ta"), Path("du mp;"), Path("to kens")
    make_data(data, Path("$(audio)"), given_texts)
    validate_data_dir.main([str(data)])
    for job in (1, 2):
        format_audio.main(["--data", str(data), "--out", str(dump), "--nj", "2", "--job", str(job)])
    merge_audio.main(["--data", str(data), "--out", str(dump), "--nj", "2"])
    make_tokens.main(["--text", f"{dump}/text", "--token_type", "char", "--out", str(tokens)])
    words = ["--dir", str(dump), "--out", "sel ected", "--tokens", str(tokens), "--token_type", "char"]
    select_utterances.main([*words, "--min_seconds", "0.1", "--max_seconds", "20", "--log", "dropped"])
    kept = read_data_dir(Path("sel ected"))
    assert {each.id: each.text for each in kept} == {id: text.strip() for id, text in given_texts.items()}
    score.main(
        [
            "--ref",
            f"{dump}/text",
            "--hyp",
            f"{dump}/text",
            "--utt2spk",
            f"{dump}/utt2spk",
            "--set_name",
            "x;y",
            "--out",
            "out",
        ]
    )
    assert '"substitutions": 0' in Path("out/score.json").read_text()
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.recipe
def test_hostile_data_passes_the_stages(copy_recipe, project, shell):
    recipe = copy_recipe("ho st;ile")
    texts = {id: f"{WORDS[number]} AB" for number, id in enumerate(IDS)}
    for name in ("train", "dev", "test"):
        make_data(recipe / "da ta" / name, recipe / "$(audio)", texts)
    words = ["--data_dir", "da ta", "--dump_dir", f"du mp;{CANARY}"]
    words += ["--exp_dir", "ex p", "--tag", "$(touch canary)"]
    result = shell(["./run.sh", "--stage", "2", *words, "--asr_args", "--max_epoch 1"], recipe)
    assert result.returncode == 0, result.stderr
    decoded = read_list(recipe / "ex p/asr_$(touch canary)/decode_greedy/test/text", problems := [])
    assert decoded.keys() == texts.keys() and not [each for each in problems if "empty" not in each]
    assert not list(project.rglob("canary"))


META = "files: {asr_model_file: %s}\nyaml_files: {asr_train_config: %s}\n"
INSIDE = META % ("model.pth", "config.yaml")


def write_archive(path: Path, members: dict[str, str], links: dict[str, str]) -> None:
    """An archive with these files, and in a tar links before them."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w") as archive:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"meta.yaml": INSIDE, "../evil": "x"}, {}),
        ({"meta.yaml": INSIDE, "a/../../../evil": "x"}, {}),
        ({"meta.yaml": INSIDE, "{outside}/evil": "x"}, {}),
        ({"meta.yaml": INSIDE, "door/evil": "x"}, {"door": "{outside}"}),
        ({"meta.yaml": META % ("model.pth", "../../outside/config.yaml")}, {}),
        ({"meta.yaml": META % ("../../outside/config.yaml", "config.yaml"), "config.yaml": "a: 1"}, {}),
        ({"meta.yaml": META % ("model.pth", "door/config.yaml")}, {"door": "{outside}"}),
    ],
)
def test_an_archive_reaches_nothing_outside(tmp_path, monkeypatch, form, members, links):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.yaml").write_text("encoder: wsm_s3prl\nencoder_conf: {upstream: read}\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    place = {"outside": str(outside)}
    archive = tmp_path / f"model.{form}"
    write_archive(
        archive,
        {name.format(**place): content for name, content in members.items()},
        {name: target.format(**place) for name, target in links.items()},
    )
    with pytest.raises(UserError, match=r"model\.(zip|tar) ") as refused:
        espnet_wsm.load(archive)
    assert "upstream read" not in str(refused.value), "the configuration outside was read"
    assert not list(tmp_path.rglob("evil*"))
