"""The best path of CTC."""

import pytest
import torch

from espnet_wsm.plugin.greedy import GreedyCtcDecoder


class Spelling:
    """Stands in for ESPnet's converter and tokenizer: ids are letters."""

    def ids2tokens(self, ids):
        return ["-abc"[i] for i in ids]

    def tokens2text(self, tokens):
        return "".join(tokens)


@pytest.mark.parametrize(
    ("path", "text"),
    [("", ""), ("----", ""), ("aab-b-", "abb"), ("-a-a", "aa"), ("cccc", "c"), ("abc", "abc")],
)
def test_repeats_merge_and_blanks_go(path, text):
    decoder = GreedyCtcDecoder.__new__(GreedyCtcDecoder)
    decoder.model = torch.nn.Module()
    decoder.model.blank_id = 0
    decoder.converter = decoder.tokenizer = Spelling()
    ids = torch.tensor(["-abc".index(c) for c in path], dtype=torch.long)
    hypothesis = decoder.hypothesis(ids, torch.full((len(path),), -0.5))
    assert hypothesis.text == text and hypothesis.score == -0.5 * len(path)
