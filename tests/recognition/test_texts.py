"""Tokens that are bytes become text in every decoder."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from espnet2.text.build_tokenizer import build_tokenizer

import espnet_wsm
from espnet_wsm.bin import asr_inference, asr_inference_greedy, asr_train
from espnet_wsm.recognition.greedy import GreedyCtcDecoder
from espnet_wsm.recognition.texts import LineTokenizer
from espnet_wsm.stages import make_tokens

AVERAGE = "valid.loss.ave.pth"


def make_byte_tokens(corpus: Path, token_type: str = "bpe", nbpe: int = 264) -> Path:
    out = corpus / token_type
    words = ["--token_type", token_type, "--nbpe", str(nbpe), "--byte_fallback", "true", "--out", str(out)]
    make_tokens.main(["--text", str(corpus / "text"), *words])
    return out


@pytest.mark.parametrize("token_type", ["bpe", "unigram"])
def test_characters_that_the_training_text_lacks_are_written_as_bytes(corpus, token_type):
    tokenizer = build_tokenizer("bpe", bpemodel=make_byte_tokens(corpus, token_type, 263) / "bpe.model")
    tokens = tokenizer.text2tokens("CAB ö日!")
    assert tokens[-6:] == ["<0xC3>", "<0xB6>", "<0xE6>", "<0x97>", "<0xA5>", "<0x21>"]
    assert LineTokenizer(tokenizer).tokens2text(tokens) == "CAB ö日!"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["▁", "A", "<0xC3>", "<0xB6>"], "Aö"),
        (["▁", "A", "<0xC3>", "B"], "A\ufffdB"),
        (["<0xE6>", "<0x97>"], "\ufffd\ufffd"),
        (["<0xFF>", "▁", "A"], "\ufffd A"),
        (["<0xB6>", "<0xC3>"], "\ufffd\ufffd"),
        (["▁", "A", "<0x0A>", "<0x0D>", "B"], "A B"),
        (["▁", "A", "<0x00>", "B"], "A B"),
        (["▁", "A", "<0xE2>", "<0x80>", "<0xA8>", "B"], "A B"),  # U+2028
        (["▁", "A", "<unk>", "B"], "A ⁇ B"),
        ([], ""),
    ],
)
def test_any_bytes_give_a_line_of_text(corpus, tokens, text):
    tokenizer = build_tokenizer("bpe", bpemodel=make_byte_tokens(corpus) / "bpe.model")
    assert LineTokenizer(tokenizer).tokens2text(tokens) == text


def test_every_decoder_writes_a_line_whatever_bytes_a_model_says(training_arguments, corpus, tmp_path):
    exp, tokens = tmp_path / "exp", make_byte_tokens(corpus)
    pieces = ["--token_type", "bpe", "--bpemodel", f"{tokens}/bpe.model"]
    arguments = training_arguments(exp, max_epoch=1)
    asr_train.main([*arguments, *pieces, "--token_list", f"{tokens}/tokens.txt"])
    state = torch.load(exp / AVERAGE)
    names = (tokens / "tokens.txt").read_text().splitlines()
    # One frame says an invalid byte or a line break, the next another: the best two tokens of all frames.
    weight, bias = state["ctc.ctc_lo.weight"], state["ctc.ctc_lo.bias"]
    weight.zero_()
    bias.fill_(-100)
    said = [names.index(name) for name in ("<0x0A>", "<0xFF>", "A")]
    weight[said] = 100 * torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
    bias[said] = 0
    torch.save(state, exp / AVERAGE)

    words = ["--data_path_and_name_and_type", f"{corpus}/wav.scp,speech,sound", "--ngpu", "0"]
    words += ["--asr_train_config", f"{exp}/config.yaml", "--asr_model_file", f"{exp}/{AVERAGE}"]
    asr_inference_greedy.main([*words, "--output_dir", f"{tmp_path}/greedy"])
    asr_inference.main([*words, "--output_dir", f"{tmp_path}/beam", "--ctc_weight", "1", "--beam_size", "2"])
    texts = {}
    for search in ("greedy", "beam"):
        recognised = tmp_path / search / "1best_recog"
        texts[search] = (recognised / "text").read_text().removesuffix("\n").split("\n")
        assert [line[:2] for line in texts[search]] == ["u1", "u2", "u3"]
        assert "<0x0A>" in (recognised / "token").read_text() and "\ufffd" in "".join(texts[search])
    samples = soundfile.read(corpus / "u1.flac", dtype=np.float32)[0]
    assert espnet_wsm.load(exp, model_file=AVERAGE)(samples) == texts["greedy"][0][3:]
    assert isinstance(GreedyCtcDecoder(exp / "config.yaml", exp / AVERAGE).tokenizer, LineTokenizer)
