"""Token lists: ESPnet's own tools make the same list, the same tokens and the same ids."""

import re
from pathlib import Path

import pytest
import sentencepiece
from espnet2.bin import tokenize_text
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.token_id_converter import TokenIDConverter
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_wsm.data.text import tokens
from espnet_wsm.data.text.tokens import Tokenizer
from espnet_wsm.errors import UserError
from espnet_wsm.stages import make_tokens

SENTENCES = [
    "the cat sat on the mat",
    "the dog ran far away from the cat",
    "där är öl på ängen",
    "a little learning is a dangerous thing",
    "привет мир",
    "drink deep or taste not the pierian spring",
]


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text"
    path.write_text("".join(f"u{i} {sentence}\n" for i, sentence in enumerate(SENTENCES)))
    return path


def make(text: Path, token_type: str, nbpe: int = 80, *more: str) -> Path:
    out = text.parent / token_type
    words = ["--text", str(text), "--token_type", token_type, "--nbpe", str(nbpe), "--out", str(out)]
    make_tokens.main([*words, *more])
    return out


def fault_of(capsys, text: Path, token_type: str, nbpe: int = 80, *more: str) -> str:
    with pytest.raises(SystemExit) as caught:
        make(text, token_type, nbpe, *more)
    assert caught.value.code == 1 and not (text.parent / token_type / "tokens.txt").exists()
    return re.search("^error: (.*)", capsys.readouterr().err, re.DOTALL)[1]


def test_characters_are_listed_as_espnet_lists_them(text, tmp_path, capsys):
    out = make(text, "char")
    command = (
        f"--token_type char --input {text} --output {tmp_path}/espnet.txt --field 2- --write_vocabulary true"
    )
    symbols = ["--add_symbol", "<blank>:0", "--add_symbol", "<unk>:1", "--add_symbol", "<sos/eos>:-1"]
    tokenize_text.main([*command.split(), *symbols])
    assert (out / "tokens.txt").read_bytes() == (tmp_path / "espnet.txt").read_bytes()
    assert (out / "tokens.txt").read_text().split("\n")[:3] == ["<blank>", "<unk>", "<space>"]
    assert f"{out}/tokens.txt: 34 char tokens\n" in capsys.readouterr().out


@pytest.mark.parametrize("token_type", ["bpe", "unigram"])
def test_pieces_are_in_the_order_of_the_espnet_recipe(text, token_type):
    out = make(text, token_type, 45)
    tokens = (out / "tokens.txt").read_text().splitlines()
    vocabulary = [line.split("\t")[0] for line in (out / "bpe.vocab").read_text().splitlines()]
    # asr.sh: echo <blank>; echo <unk>; awk 'NR > 3 {print $1}' bpe.vocab; echo <sos/eos>
    assert vocabulary[:3] == ["<unk>", "<s>", "</s>"] and len(tokens) == 45
    assert tokens == ["<blank>", "<unk>", *vocabulary[3:], "<sos/eos>"]


def test_vocabulary_file_is_that_of_sentencepiece(text, tmp_path):
    out = make(text, "bpe", 45)
    (tmp_path / "plain").write_text("\n".join(SENTENCES))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "plain"),
        model_prefix=str(tmp_path / "reference"),
        model_type="bpe",
        vocab_size=45,
        character_coverage=1.0,
        minloglevel=2,
    )
    assert (out / "bpe.vocab").read_text() == (tmp_path / "reference.vocab").read_text()


@pytest.mark.parametrize("token_type", ["char", "bpe", "unigram"])
def test_the_same_text_gives_the_same_bytes(text, token_type):
    first = {path.name: path.read_bytes() for path in make(text, token_type, 45).iterdir()}
    assert first == {path.name: path.read_bytes() for path in make(text, token_type, 45).iterdir()}
    assert first.keys() == (
        {"tokens.txt"} if token_type == "char" else {"tokens.txt", "bpe.model", "bpe.vocab"}
    )


@pytest.fixture(scope="module", params=["char", "bpe", "unigram"])
def both(request, tmp_path_factory):
    """Our tokenizer, and ESPnet's tokenizer and id converter on the same files."""
    path = tmp_path_factory.mktemp("tokens") / "text"
    path.write_text("".join(f"u{i} {sentence}\n" for i, sentence in enumerate(SENTENCES)))
    out = make(path, request.param, 45)
    if request.param == "char":
        espnet = build_tokenizer("char")
    else:
        espnet = build_tokenizer("bpe", bpemodel=out / "bpe.model")
    return Tokenizer(out, request.param), espnet, TokenIDConverter(out / "tokens.txt")


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(codec="utf-8")) | st.text("the cat  söätр ,.'\u00a0\u2581"))
def test_tokens_and_ids_are_those_of_espnet(both, text):
    ours, espnet, converter = both
    assert ours.tokenize(text) == espnet.text2tokens(text)
    assert ours.ids(text) == converter.tokens2ids(espnet.text2tokens(text))


def test_the_type_is_found_by_the_files(text, capsys):
    assert Tokenizer(make(text, "char")).tokenize("a b") == ["a", "<space>", "b"]
    bpe = make(text, "bpe", 45)
    assert Tokenizer(bpe).tokenize("the cat")[0].startswith("▁")
    assert Tokenizer(bpe, "char").tokenize("a b") == ["a", "<space>", "b"]


@pytest.fixture
def symbols(tmp_path) -> Path:
    """One that begins another, a blank line, and one that no text has."""
    path = tmp_path / "languages"
    path.write_text("[org]\n\n[org]x\n[swe]\n[nob]\n")
    return path


@pytest.mark.parametrize("token_type", ["char", "bpe"])
def test_a_symbol_is_one_token(tmp_path, symbols, token_type):
    text = tmp_path / "text"
    text.write_text("".join(f"u{i} [swe] {sentence} [org]xa[\n" for i, sentence in enumerate(SENTENCES)))
    words = ["--text", str(text), "--token_type", token_type, "--nbpe", "60", "--out", str(tmp_path / "out")]
    make_tokens.main([*words, "--non_linguistic_symbols", str(symbols)])
    tokens = (tmp_path / "out/tokens.txt").read_text().splitlines()
    assert "[swe]" in tokens and "[org]x" in tokens
    tokenizer = Tokenizer(tmp_path / "out", token_type)
    assert "[swe]" in tokenizer.tokenize("[swe] a") and "[org]x" in tokenizer.tokenize("b[org]x")
    if token_type == "char":
        espnet = build_tokenizer("char", non_linguistic_symbols=tmp_path / "out/nlsyms.txt")
        for line in ("[swe] the cat [org]x[", "[org] [nob]a[nob", ""):
            assert tokenizer.tokenize(line) == espnet.text2tokens(line)
    make_tokens.main(words)
    assert not (tmp_path / "out/nlsyms.txt").exists()


def test_symbols_are_composed_as_transcripts_are(tmp_path):
    (tmp_path / "symbols").write_text("\ufeff[e\u0301]\n[é]\n[a\u200bb]\n\u2060\n", encoding="utf-8")
    assert tokens.read_symbols(tmp_path / "symbols") == ["[ab]", "[é]"]


def test_symbols_that_are_none_are_named(text, tmp_path, capsys):
    words = ["--text", str(text), "--out", str(tmp_path / "out"), "--non_linguistic_symbols"]
    (tmp_path / "bad").write_text("[a b]\n")
    for file, message in (("bad", "symbol '[a b]' holds white space"), ("none", "none cannot be read")):
        with pytest.raises(SystemExit, match="1"):
            make_tokens.main([*words, str(tmp_path / file)])
        assert message in capsys.readouterr().err


def test_characters_made_over_pieces_leave_no_model(text):
    out = make(text, "bpe", 45)
    make_tokens.main(["--text", str(text), "--token_type", "char", "--out", str(out)])
    assert [path.name for path in out.iterdir()] == ["tokens.txt"]


@pytest.mark.parametrize("byte_fallback", ["false", "true"])
@pytest.mark.parametrize("token_type", ["bpe", "unigram"])
def test_a_wrong_size_names_the_smallest_and_the_largest(text, capsys, token_type, byte_fallback):
    """Both are true: they work, and one less or more does not."""
    more = ["--byte_fallback", byte_fallback]
    least = 34 if byte_fallback == "false" else 290
    of_bytes = "" if byte_fallback == "false" else " and 256 bytes"
    message = fault_of(capsys, text, token_type, 10, *more)
    most = int(re.search(r"up to (\d+)\.", message)[1])
    assert message == (
        f"--nbpe 10 is too small for this text: set it to {least} or more, up to {most}. {least} is its 31 "
        f"distinct characters (with the word mark), 3 symbols{of_bytes}; {most} is all that {token_type} "
        "finds in it\n"
    )
    for wrong in (least - 1, most + 1, 5000, 0):
        told = fault_of(capsys, text, token_type, wrong, *more)
        size = "large" if wrong > most else "small"
        assert told == message.replace("--nbpe 10 is too small", f"--nbpe {wrong} is too {size}")
    for right in (least, most):
        tokens = (make(text, token_type, right, *more) / "tokens.txt").read_text().splitlines()
        assert len(tokens) == right


def test_bytes_are_tokens_for_what_the_text_lacks(text, capsys):
    out = make(text, "bpe", 300, "--byte_fallback", "true")
    ours, espnet = Tokenizer(out), build_tokenizer("bpe", bpemodel=out / "bpe.model")
    converter = TokenIDConverter(out / "tokens.txt")
    for sentence in ("the cat", "日本 cat", "\x07\u2081"):
        assert ours.ids(sentence) == converter.tokens2ids(espnet.text2tokens(sentence))
        assert ours.ids("<unk>")[0] != 1 and 1 not in ours.ids(sentence)
    message = fault_of(capsys, text, "char", 300, "--byte_fallback", "true")
    assert message.startswith("--byte_fallback is for --token_type bpe or unigram")


@pytest.mark.parametrize(
    ("token_type", "line", "message"),
    [
        ("char", "a 5\u00a0km", r"text:1: id a: the text holds the white space U\+00A0, which ESPnet strips"),
        ("char", "a 5\tkm", r"text:1: id a: the text holds the white space U\+0009"),
        ("bpe", "a x\u2581y", r"text:1: id a: the text holds U\+2581, which sentencepiece reserves"),
        ("char", "a x\0y", "text:1: id a: the text holds a NUL character"),
        ("unigram", "a x\0y", "text:1: id a: the text holds a NUL character"),
        ("char", "a", "text:1: id a has an empty transcript: remove the utterance"),
        ("char", "b x\na y", "text:2: id a comes after b"),
        ("char", "", "text is empty"),
    ],
)
def test_faults_of_the_text(tmp_path, capsys, token_type, line, message):
    (tmp_path / "text").write_text(line)
    assert re.search(message, fault_of(capsys, tmp_path / "text", token_type))


def test_a_very_long_sentence_is_not_left_out(tmp_path):
    (tmp_path / "text").write_text("a " + "x y z " * 2000 + "\nb w v u\n")
    tokens = (make(tmp_path / "text", "bpe", 10) / "tokens.txt").read_text()
    assert {"x", "y", "z"} <= {token.strip("▁") for token in tokens.splitlines()}


def test_missing_and_broken_token_folders(tmp_path):
    def fault(token_type: str | None = None) -> str:
        with pytest.raises(UserError) as caught:
            Tokenizer(tmp_path, token_type)
        return str(caught.value)

    assert (
        fault() == f"{tmp_path}/tokens.txt cannot be read (No such file or directory): make the tokens first"
    )
    (tmp_path / "tokens.txt").write_bytes(b"\xff")
    assert "tokens.txt is not UTF-8 at byte 0" in fault()
    (tmp_path / "tokens.txt").write_text("a\nb\n")
    assert "tokens.txt has no <unk>" in fault()
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\na\n<sos/eos>\n")
    assert "--token_type word is unknown: use one of char, bpe, unigram" in fault("word")
    assert "bpe.model does not exist: make the tokens with --token_type bpe" in fault("bpe")
    (tmp_path / "bpe.model").write_bytes(b"x")
    assert "bpe.model is not a sentencepiece model" in fault()


@pytest.mark.parametrize("token_type", ["bpe", "unigram"])
def test_pieces_say_what_was_written(tmp_path, token_type):
    """sentencepiece's own normalisation, NFKC, takes these apart or together."""
    words = "น้ำ ทำ ｆine ½ ﬁ"
    (tmp_path / "text").write_text(f"u1 {words}\n", encoding="utf-8")
    size = len(set(words)) + tokens.META_PIECES
    tokens.make_token_list(tmp_path / "text", tmp_path, token_type, size)
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
    assert model.decode(model.encode(words)) == words
    assert 1 not in Tokenizer(tmp_path, token_type).ids(words), "nothing is unknown"
