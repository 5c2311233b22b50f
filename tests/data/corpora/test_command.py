"""The command line of a recipe's own script."""

from pathlib import Path

import pytest

from espnet_wsm.data.corpora.command import FOLDERS, NEED, PACKAGES_BY_LANGUAGE, make_command
from espnet_wsm.errors import UserError


def tell(**options: object) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]


def test_options_reach_the_parser_of_the_corpus_and_its_lines_are_printed(capsys):
    main = make_command("Corpus.", tell, lang={"required": True}, **FOLDERS, need=NEED)
    main(["--lang", "sn", "--out", "elsewhere", "--need", "train", "dev"])
    assert capsys.readouterr().out == ("lang=sn\ndownloads=downloads\nout=elsewhere\nneed=['train', 'dev']\n")


def test_each_language_of_a_package_has_a_folder_of_its_own(capsys):
    main = make_command("Corpus.", tell, lang={"default": "cs"}, **PACKAGES_BY_LANGUAGE)
    main([])
    main(["--lang", "nl", "--out", "data"])
    folders = [line for line in capsys.readouterr().out.splitlines() if line.startswith("out=")]
    assert folders == [f"out={Path('data/cs')}", "out=data"]


def test_help_says_what_the_corpus_is_and_faults_are_sentences(capsys):
    def refuse(**options: object) -> list[str]:
        raise UserError("nothing there")

    main = make_command("Shona radio.", refuse, **FOLDERS)
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "Shona radio." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main([])
    assert capsys.readouterr().err == "error: nothing there\n"
