"""The best path of CTC."""

import pytest
import torch

from espnet_wsm.data.dump.batches import take_batches
from espnet_wsm.recognition.greedy import GreedyCtcDecoder
from espnet_wsm.stages import decode_sets


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


@pytest.fixture
def dump(tmp_path):
    """A set of five utterances; longer ones come first in the lists."""
    dump = tmp_path / "dump"
    dump.mkdir()
    (dump / "wav.scp").write_text("".join(f"u{i} a/{i}.flac\n" for i in range(5)))
    (dump / "utt2num_samples").write_text("".join(f"u{i} {160 * (9 - i)}\n" for i in range(5)))
    return dump


@pytest.mark.parametrize("nj", [1, 2, 3, 4])
def test_jobs_share_batches_that_do_not_depend_on_their_number(dump, nj):
    shares = [list(take_batches(dump, 2, nj, job).items()) for job in range(1, nj + 1)]
    batches = [share[start : start + 2] for share in shares for start in range(0, len(share), 2)]
    expected = [["u4", "u3"], ["u2", "u1"], ["u0"]]
    assert sorted(batches) == sorted([(id, f"a/{id[1]}.flac") for id in batch] for batch in expected)


DECODER = ["--asr_train_config", "config.yaml", "--asr_model_file", "x.pth"]


def test_a_job_without_a_batch_does_nothing(dump, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--nj", "2", "--job", "2", "--out", str(out), str(dump), "--", *DECODER]
    decode_sets.main(words)  # 16 utterances make a batch
    assert "nothing to decode" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("job", "lines", "message"),
    [("3", 5, "--job 3 of --nj 2: the job must"), ("1", 4, "wav.scp: u4: run stage 2 again")],
)
def test_a_job_that_cannot_be_is_refused(dump, tmp_path, capsys, job, lines, message):
    path = dump / "utt2num_samples"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    words = ["--nj", "2", "--job", job, "--out", str(tmp_path / "out"), str(dump), "--", *DECODER]
    with pytest.raises(SystemExit) as stop:
        decode_sets.main(words)
    assert stop.value.code == 1 and message in capsys.readouterr().err
