"""`espnet-wsm convert_annotations`: from one file to another, and what is said of it."""

import pytest
from field_eaf import FIELD

from espnet_wsm.annotations import FORMATS, read_annotations
from espnet_wsm.annotations.eaf import find_media
from espnet_wsm.bin.convert_annotations import main, make_parser


@pytest.fixture
def field(tmp_path):
    (tmp_path / "field.eaf").write_text(FIELD, encoding="utf-8")
    return str(tmp_path / "field.eaf")


def test_a_file_is_converted_and_what_is_lost_is_listed(field, tmp_path, capsys):
    main([field, str(tmp_path / "a.srt"), "--tiers", "A_utt"])
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:01,000 --> 00:00:02,200\nndi na &lt;iwe>\n"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"{tmp_path}/a.srt does not hold: name of the audio, segments without text (1), times of words (3), "
        "speakers (1), which words are one segment (2)\n"
    )


def test_a_dry_run_writes_nothing(field, tmp_path, capsys):
    main([field, str(tmp_path / "a.json"), "--dry_run"])
    main([field, str(tmp_path / "a.ctm"), "--dry_run"])
    assert [file.name for file in tmp_path.iterdir()] == ["field.eaf"]
    assert "a.json" not in (said := capsys.readouterr().err) and "a.ctm does not hold: " in said


def test_options_reach_the_formats(field, tmp_path):
    main([field, str(tmp_path / "a.stm"), "--channel", "B", "--tiers", "A_ft"])
    assert (tmp_path / "a.stm").read_text() == "talk B A_ft 1.000 2.200 it's me and you\n"
    for options, count in (
        ([], 1),
        (["--line_length", "8"], 1),
        (["--line_length", "5", "--reading_speed", "5"], 2),
    ):
        main(
            [str(tmp_path / "a.stm"), str(tmp_path / "a.vtt"), "--recording", "talk", "--overwrite", *options]
        )
        assert (tmp_path / "a.vtt").read_text().count("-->") == count
    main([str(tmp_path / "a.stm"), str(tmp_path / "b.txt"), "--to", "audacity"])
    main([str(tmp_path / "b.txt"), str(tmp_path / "c.srt"), "--from", "audacity", "--keep_cues"])
    assert read_annotations(tmp_path / "c.srt").tiers[0].segments[0].text == "it's me and you"


def test_audio_that_is_there_is_named_from_the_new_folder(field, tmp_path):
    main([field, str(tmp_path / "new/a.eaf"), "--tiers", "A_utt"])
    assert read_annotations(tmp_path / "new/a.eaf").audio == "audio/talk.wav"
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/talk.wav").touch()
    main([field, str(tmp_path / "new/a.eaf"), "--tiers", "A_utt", "--overwrite"])
    assert read_annotations(tmp_path / "new/a.eaf").audio == "../audio/talk.wav"
    assert find_media(tmp_path / "new/a.eaf")[0].samefile(tmp_path / "audio/talk.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{field}", "{field}"], "is the file that is read: name another one to write"),
        (["{field}", "{folder}/a.doc"], "a.doc has a suffix, .doc, of no format"),
        (
            ["{field}", "{folder}/a.json", "--tiers", "C"],
            "field.eaf: there is no tier C: there are A_utt, B_utt",
        ),
        (["{field}", "{folder}/a.json", "--encoding", "latin-1"], "eaf takes no encoding: leave it out"),
        (["{folder}/none.srt", "{folder}/a.json"], "none.srt cannot be read: No such file or directory"),
        (
            ["{field}", "{folder}/there.tsv"],
            "there.tsv is there already: name another file, or ask for overwriting",
        ),
        (
            ["{field}", "{folder}/a.srt", "--line_length", "2"],
            "max_line_length is 2: it has to be at least 4",
        ),
    ],
)
def test_faults_are_sentences_and_nothing_is_written(arguments, message, field, tmp_path, capsys):
    (tmp_path / "there.tsv").write_text("mine")
    with pytest.raises(SystemExit, match="1"):
        main([argument.format(field=field, folder=tmp_path) for argument in arguments])
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1
    assert (tmp_path / "there.tsv").read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["field.eaf", "there.tsv"]


def test_help_lists_the_formats():
    shown = make_parser().format_help()
    assert all(f"  {name}" in shown and one.description in shown for name, one in FORMATS.items())
    assert "tab-delimited export of ELAN, read\n" in shown and "plain text, written\n" in shown
