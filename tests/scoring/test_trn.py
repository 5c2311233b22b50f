"""Reading, pairing and writing of texts."""

from pathlib import Path

import pytest

from espnet_wsm.errors import UserError
from espnet_wsm.scoring.trn import TextPair, pair_texts, read_kaldi_text, split_characters, write_trns


def test_words_end_at_ascii_white_space_only(tmp_path):
    text = tmp_path / "text"
    text.write_bytes("u1  a\tb\u00a0c d\u2028e \r\nu2\nu3 \x85x\x1cy".encode())
    assert read_kaldi_text(text) == {"u1": ("a", "b\u00a0c", "d\u2028e"), "u2": (), "u3": ("\x85x\x1cy",)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"u1 a\nu2 \xff\n", "text:2: not UTF-8 at byte 8 of the file .*iconv"),
        (b"u1 a\nu2 b\nu1 c\n", "text:3: id u1 was given before"),
        (b"u1 a\n\nu2 b\n", "text:2: empty line"),
    ],
)
def test_faulty_line_is_named(tmp_path, data, message):
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_kaldi_text(tmp_path / "text")


def test_all_faulty_lines_are_named_at_once(tmp_path):
    (tmp_path / "text").write_bytes(b"u1 \xff\n\nu2 a\nu2 b\n")
    with pytest.raises(UserError, match=r"(?s)3 problems.*text:1:.*text:2:.*text:4:"):
        read_kaldi_text(tmp_path / "text")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere cannot be read: No such file"):
        read_kaldi_text(tmp_path / "nowhere")


def test_pairs_are_sorted_by_bytes_and_empty_hypothesis_is_kept(write_texts):
    reference, hypothesis = write_texts(["b x", "a y", "B z", "я w"], ["я w", "a y", "b", "B q"])
    pairs = pair_texts(reference, hypothesis)
    assert [pair.id for pair in pairs] == ["B", "a", "b", "я"]
    assert pairs[2] == TextPair("b", "b", ("x",), ())


@pytest.mark.parametrize(
    ("reference", "hypothesis", "message"),
    [
        (["u1 a", "u2 b"], ["u1 a"], "hyp_text: no hypothesis for u2 of .*ref_text"),
        (["u1 a"], ["u1 a", "u9 b"], "hyp_text: u9 not in .*ref_text"),
        (["u1 a"], ["u1 a", "u1 b"], "hyp_text:2: id u1 was given before"),
        (["u1 a", "u2"], ["u1 a", "u2 b"], "ref_text: empty reference of u2"),
        ([], [], "ref_text is empty"),
    ],
)
def test_ids_must_match_one_to_one(write_texts, reference, hypothesis, message):
    with pytest.raises(UserError, match=message):
        pair_texts(*write_texts(reference, hypothesis))


def test_speakers_come_from_utt2spk(write_texts, tmp_path):
    texts = write_texts(["u1 a", "u2 b"], ["u1 a", "u2 b"])
    utt2spk = tmp_path / "utt2spk"
    utt2spk.write_text("u0 other\nu1 anna\nu2 boris\n")
    assert [pair.speaker for pair in pair_texts(*texts, utt2spk)] == ["anna", "boris"]


def test_symbols_are_taken_out_of_both_sides(write_texts):
    texts = write_texts(["u1 [swe] a b", "u2 b[x]c"], ["u1 [nor]a [swe] [sw]", "u2 [swe]"])
    pairs = pair_texts(*texts, symbols=["[swe]", "[nor]"])
    assert [pair.reference for pair in pairs] == [("a", "b"), ("b[x]c",)]
    assert [pair.hypothesis for pair in pairs] == [("a", "[sw]"), ()]


@pytest.mark.parametrize("lines", ["u1 anna\n", "u1 anna\nu2\n", "u1 anna\nu2 b c\n"])
def test_utterance_without_one_speaker_is_named(write_texts, tmp_path, lines):
    texts = write_texts(["u1 a", "u2 b"], ["u1 a", "u2 b"])
    (tmp_path / "utt2spk").write_text(lines)
    with pytest.raises(UserError, match="utt2spk: u2 needs one line"):
        pair_texts(*texts, tmp_path / "utt2spk")


def test_characters_are_code_points_with_a_token_for_the_blank():
    pair = split_characters(TextPair("u", "s", ("ё", "b\u00a0c", "e\u0301"), ()))
    assert pair.reference == ("ё", "<space>", "b", "\u00a0", "c", "<space>", "e", "\u0301")
    assert pair.hypothesis == ()


def test_trn_files_are_espnets(tmp_path: Path):
    write_trns(
        tmp_path / "score_wer", [TextPair("u1", "s", ("a", "{b"), ("a",)), TextPair("u2", "s", ("ё",), ())]
    )
    assert (tmp_path / "score_wer/ref.trn").read_bytes() == "a {b\t(s-u1)\nё\t(s-u2)\n".encode()
    assert (tmp_path / "score_wer/hyp.trn").read_bytes() == b"a\t(s-u1)\n\t(s-u2)\n"
    assert sorted(path.name for path in (tmp_path / "score_wer").iterdir()) == ["hyp.trn", "ref.trn"]


def test_trn_characters_equal_espnets_tokenizer(tmp_path):
    tokenizer = pytest.importorskip("espnet2.text.char_tokenizer").CharTokenizer()
    words = ("the", "cat's", "{x}", "ёж")
    assert list(split_characters(TextPair("u", "s", words, ())).reference) == tokenizer.text2tokens(
        " ".join(words)
    )
