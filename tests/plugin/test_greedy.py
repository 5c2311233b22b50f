"""The best path of CTC."""

import pytest
import torch

from espnet_wsm.bin import decode_sets
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


def test_a_job_without_utterances_says_which_list_it_looked_for(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        decode_sets.main(
            ["--nj", "4", "--job", "3", str(tmp_path / "dev"), str(tmp_path / "test"), "--", "--config"]
        )
    assert stop.value.code == 1
    assert f"job 3 of 4 has nothing to decode: {tmp_path}/dev/log/split4/3/wav.scp" in capsys.readouterr().err
