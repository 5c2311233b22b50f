"""CTC beam search with an n-gram: the language model decides where the acoustics cannot."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import kenlm
import pytest
import torch
from arpa import write_arpa
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.token_id_converter import TokenIDConverter

from espnet_wsm.bin import asr_inference_lm, asr_train
from espnet_wsm.data.text.language_model import load_model
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.lm_search import LmCtcDecoder, LmSearchConfig, WordLm
from espnet_wsm.recognition.texts import LineTokenizer
from espnet_wsm.stages import decode_sets, make_tokens

LETTERS = ["<blank>", "<unk>", "<space>", *"abcöst", "<sos/eos>"]
PLAIN = {
    "lm_weight": 1.0,
    "word_bonus": 0.0,
    "unk_score": -4.0,
    "beam_size": 50,
    "beam_size_token": 20,
    "beam_threshold": 50.0,
}


def make_decoder(lm: Path, tokens: list[str], tokenizer=None, **changes) -> LmCtcDecoder:
    """A decoder for log probabilities, without an acoustic model."""
    decoder = LmCtcDecoder.__new__(LmCtcDecoder)
    decoder.model = torch.nn.Module()
    decoder.model.blank_id, decoder.model.token_list = 0, tokens
    decoder.converter = TokenIDConverter(token_list=tokens)
    decoder.train_args = SimpleNamespace(token_type="char" if tokenizer is None else "bpe")
    decoder.tokenizer = LineTokenizer(tokenizer or build_tokenizer("char"))
    decoder.prepare_search(load_model(lm), LmSearchConfig(**(PLAIN | changes)))
    return decoder


def frames(tokens: list[str], *likely: dict[str, float]) -> torch.Tensor:
    """(T, V) log probabilities; what is left of each frame is shared by all other tokens."""
    rows = []
    for row in likely:
        rest = (1 - sum(row.values())) / (len(tokens) - len(row))
        rows.append([row.get(token, rest) for token in tokens])
    return torch.tensor(rows).log()


def said(tokens: list[str], text: str, **unsure: dict[str, float]) -> torch.Tensor:
    """Frames that spell ``text``, blanks between them; a letter in ``unsure`` has those probabilities."""
    rows = []
    for char in text:
        rows += [unsure.get(char, {"<space>" if char == " " else char: 0.98}), {"<blank>": 0.98}]
    return frames(tokens, *rows)


@pytest.fixture
def lm(tmp_path) -> Path:
    return write_arpa(tmp_path / "lm.arpa", ["a cat sat", "a cat", "cats at a cöt"])


def test_the_language_model_decides_between_words_that_sound_alike(lm):
    unsure = {"a": {"a": 0.45, "b": 0.5}}
    log_probs = said(LETTERS, "cat sat", **unsure)
    assert make_decoder(lm, LETTERS, lm_weight=0.0).search_utterance(log_probs).text == "cbt sbt"
    best = make_decoder(lm, LETTERS).search_utterance(log_probs)
    assert best.text == "cat sat" and best.tokens == ["c", "a", "t", "<space>", "s", "a", "t"]


def test_a_word_that_it_does_not_know_can_be_written(lm):
    for text in ("a bat sat", "stab", "<unk>a"):
        tokens = ["<unk>", "a"] if text == "<unk>a" else list(text)
        rows = [{"<space>" if token == " " else token: 0.98} for token in tokens]
        rows = [row for pair in zip(rows, itertools.repeat({"<blank>": 0.98})) for row in pair]
        decoder = make_decoder(lm, LETTERS, lm_weight=0.3)
        assert decoder.search_utterance(frames(LETTERS, *rows)).text == text


def test_the_context_counts(tmp_path):
    lm = write_arpa(tmp_path / "lm.arpa", ["s at"] * 5 + ["c bt"] * 5)
    unsure = {"a": {"a": 0.48, "b": 0.48}}
    decoder = make_decoder(lm, LETTERS)
    assert decoder.search_utterance(said(LETTERS, "s at", **unsure)).text == "s at"
    assert decoder.search_utterance(said(LETTERS, "c at", **unsure)).text == "c bt"


def test_scores_are_those_of_all_texts_in_turn(lm):
    """Against the sum over all alignments of every text that four frames can say."""
    tokens = ["<blank>", "<unk>", "<space>", "a", "t", "<sos/eos>"]
    log_probs = torch.randn(4, len(tokens), generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    config = {"lm_weight": 0.7, "word_bonus": 0.3, "unk_score": -2.5}
    decoder = make_decoder(lm, tokens, **config, beam_size=2000)
    totals: dict[tuple, float] = {}
    for path in itertools.product(range(len(tokens)), repeat=4):
        ids = tuple(i for i, _ in itertools.groupby(path) if i)
        score = sum(log_probs[t, i].item() for t, i in enumerate(path))
        totals[ids] = math.log(math.exp(totals.get(ids, -math.inf)) + math.exp(score))
    model = load_model(lm)
    assert len(totals) > 300
    for ids in totals:
        words = "".join(" " if tokens[i] == "<space>" else tokens[i] for i in ids).split()
        scores = [
            (log10 if not unknown else -2.5) for log10, _, unknown in model.full_scores(" ".join(words))
        ]
        totals[ids] += 0.7 * math.log(10) * sum(scores) + 0.3 * len(words)
    best = max(totals, key=totals.get)
    hypothesis = decoder.search_utterance(log_probs)
    assert tuple(hypothesis.token_ids) == best and hypothesis.score == pytest.approx(totals[best], abs=1e-3)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["<space>", "a", "<space>", "<space>", "b", "a"], ["a", "ba"]),
        (["▁a", "b", "▁", "c", "▁", "▁d"], ["ab", "c", "d"]),
        (["▁c", "<0xC3>", "<0xB6>", "t", "▁<0xC3>"], ["cöt", "<0xC3>"]),
        (["<0xC3>", "<0xFF>", "▁a"], ["\ufffd\ufffd", "a"]),
        (["<unk>", "▁a"], ["<unk>", "a"]),
        ([], []),
    ],
)
def test_words_are_put_together_from_tokens(lm, monkeypatch, tokens, words):
    scorer = WordLm(load_model(lm), sorted(set(tokens)), LmSearchConfig(**PLAIN))
    heard = []
    monkeypatch.setattr(
        scorer,
        "score_word",
        lambda state, word: (heard.append(word.decode(errors="replace")), (state, 0.0))[1],
    )
    state = scorer.start(False)
    for token in tokens:
        state, _ = scorer.score(state, sorted(set(tokens)).index(token))
    scorer.finish(state)
    assert heard == words


@pytest.mark.parametrize(("token_type", "byte_fallback"), [("bpe", "false"), ("unigram", "true")])
def test_pieces_and_bytes_spell_the_same_words(tmp_path, token_type, byte_fallback):
    sentences = ["a cat sat", "cats at a bast", "cat cat sat"]
    (tmp_path / "text").write_text("".join(f"u{i} {text}\n" for i, text in enumerate(sentences)))
    size = {"false": "12", "true": "267"}[byte_fallback]
    words = ["--token_type", token_type, "--nbpe", size, "--byte_fallback", byte_fallback]
    make_tokens.main(["--text", f"{tmp_path}/text", *words, "--out", f"{tmp_path}/tokens"])
    tokens = (tmp_path / "tokens/tokens.txt").read_text().splitlines()
    tokenizer = build_tokenizer("bpe", bpemodel=tmp_path / "tokens/bpe.model")
    unknown = "ö" if byte_fallback == "true" else "b"
    lm = write_arpa(tmp_path / "lm.arpa", [f"a c{unknown}t sat"] * 4 + ["a cat"])
    rows = []
    for token in tokenizer.text2tokens(f"a c{unknown}t sat"):
        rows += [
            {token: 0.55, "a": 0.4} if token in (unknown, "<0xB6>") else {token: 0.97},
            {"<blank>": 0.97},
        ]
    log_probs = frames(tokens, *rows)
    decoder = make_decoder(lm, tokens, tokenizer)
    assert decoder.search_utterance(log_probs).text == f"a c{unknown}t sat"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lm_weight": -1.0}, "--lm_weight -1.0: it must be 0 or more"),
        ({"beam_size": 0}, "--beam_size 0: it must be 1 or more"),
        ({"word_bonus": math.nan}, "--word_bonus nan: a finite number is needed"),
        ({"lm_weight": "much"}, "--lm_weight much: a finite number is needed"),
        ({"unk_score": 1.0}, "--unk_score 1.0: the logarithm of a probability is not positive"),
    ],
)
def test_bad_weights_are_refused(changes, message):
    with pytest.raises(UserError) as caught:
        LmSearchConfig(**(PLAIN | changes))
    assert str(caught.value) == message


def test_a_set_is_decoded_the_same_by_any_number_of_jobs(training_arguments, corpus, tmp_path):
    exp, dump = tmp_path / "exp", tmp_path / "dump"
    asr_train.main(training_arguments(exp, max_epoch=1))
    lm = write_arpa(tmp_path / "lm.arpa", ["AB", "A C", "CAB"])
    dump.mkdir()
    (dump / "wav.scp").write_text((corpus / "wav.scp").read_text())
    (dump / "utt2num_samples").write_text((corpus / "speech_shape").read_text())
    model = ["--asr_train_config", f"{exp}/config.yaml", "--asr_model_file", f"{exp}/valid.loss.ave.pth"]
    written = []
    for nj in (1, 2):
        out = tmp_path / f"out{nj}"
        for job in range(1, nj + 1):
            words = ["--search", "lm", "--nj", str(nj), "--job", str(job), "--out", str(out), str(dump)]
            decode_sets.main([*words, "--", *model, "--lm_file", str(lm), "--batch_size", "2"])
        for file in ("text", "token", "token_int", "score"):
            parts = sorted(out.glob(f"dump/log/output.*/1best_recog/{file}"))
            assert len(parts) == nj
            written.append(sorted("".join(part.read_text() for part in parts).splitlines()))
    assert written[:4] == written[4:] and [line[:2] for line in written[0]] == ["u1", "u2", "u3"]


def test_a_missing_language_model_is_named(tmp_path, capsys):
    words = ["--asr_train_config", "c", "--asr_model_file", "m", "--lm_file", f"{tmp_path}/x.arpa"]
    words += ["--data_path_and_name_and_type", "wav.scp,speech,sound", "--output_dir", f"{tmp_path}/out"]
    with pytest.raises(SystemExit) as stop:
        asr_inference_lm.main(words)
    assert (
        stop.value.code == 1
        and f"{tmp_path}/x.arpa does not exist: name an n-gram" in capsys.readouterr().err
    )


def test_kenlm_reads_what_the_tests_write(lm):
    model = kenlm.Model(str(lm))
    assert model.order == 2 and "cat" in model and "bat" not in model
