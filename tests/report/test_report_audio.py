"""Where a page has its audio."""

import base64
import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from made_experiments import SPOKEN, take, write_dump, write_experiment
from pages import ParsedPage

from espnet_wsm.bin.report import main
from espnet_wsm.report import audio


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    recipe = tmp_path / "my egs#1" / "asr1"
    write_dump(recipe, take(SPOKEN, 0))
    return write_experiment(recipe, "x", take(SPOKEN, 1))


@pytest.fixture
def addresses(exp, tmp_path):
    """Runs the command; gives the addresses of the audio and the page."""

    def run(*arguments: str) -> tuple[list[str | None], ParsedPage]:
        file = tmp_path / "pages" / "report.html"
        main([str(exp), "--out", str(file), "--overwrite", *arguments])
        page = ParsedPage(file)
        return [one.get("audio") for one in page.data["utterances"]], page

    return run


def list_files(exp: Path) -> list[Path]:
    return [exp.parents[1] / f"dump/raw/test/audio/{number}.flac" for number in range(len(SPOKEN))]


@pytest.mark.parametrize("place", ["auto", "embed"])
def test_a_few_minutes_are_in_the_page(exp, addresses, place):
    for address, file in zip(addresses("--audio", place)[0], list_files(exp), strict=True):
        assert address.startswith("data:audio/flac;base64,")
        assert base64.b64decode(address.partition(",")[2]) == file.read_bytes()


def test_more_lies_beside_the_page(exp, addresses, monkeypatch, tmp_path):
    monkeypatch.setattr(audio, "MOST_EMBEDDED", sum(file.stat().st_size for file in list_files(exp)) - 1)
    found, _ = addresses()
    assert found[0] == "report_audio/00001.flac"
    for address, file in zip(found, list_files(exp), strict=True):
        assert (tmp_path / "pages" / address).read_bytes() == file.read_bytes()


def test_links_are_relative_to_the_page(exp, addresses, tmp_path):
    for address, file in zip(addresses("--audio", "link")[0], list_files(exp), strict=True):
        assert not address.startswith("/") and "#" not in address and " " not in address
        assert os.path.samefile(tmp_path / "pages" / unquote(address), file)


def test_a_page_can_be_without_audio(addresses):
    found, page = addresses("--audio", "none")
    assert set(found) == {None} and "The page was made without audio." in page.text


def test_what_cannot_be_played_is_told(exp, addresses):
    scp = exp.parents[1] / "dump/raw/test/wav.scp"
    kept = list_files(exp)[3]
    kept.with_suffix(".sph").write_bytes(b"")
    scp.write_text(
        "anna-1 sph2pipe x.sph |\nanna-2 data/speech.ark:17\nboris-1 gone.flac\n"
        f"boris-2 {kept.with_suffix('.sph')}\n"
    )
    found, page = addresses("--audio", "link")
    assert set(found) == {None}
    for why in (
        "which is a command in wav.scp: anna-1",
        "which is in an archive: anna-2",
        "which is not where wav.scp says: boris-1",
        "which browsers do not play (.sph): boris-2",
    ):
        assert f"The audio of 1 utterance cannot be played, {why}." in page.text


def test_a_folder_of_other_things_is_kept(exp, tmp_path, capsys):
    folder = tmp_path / "report_audio"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    page = tmp_path / "report.html"
    for options, said in (([], "is there already"), (["--overwrite"], "other things than a report's audio")):
        with pytest.raises(SystemExit):
            main([str(exp), "--out", str(page), "--audio", "beside", *options])
        assert said in capsys.readouterr().err
        assert (folder / "thesis.txt").read_text() == "mine" and not page.exists()


def test_the_folder_of_an_earlier_page_is_replaced(addresses, tmp_path):
    addresses("--audio", "beside")
    (tmp_path / "pages/report_audio/00009.flac").write_bytes(b"left over")
    addresses("--audio", "beside")
    names = sorted(file.name for file in (tmp_path / "pages/report_audio").iterdir())
    assert names == [f"0000{number}.flac" for number in (1, 2, 3, 4)]
