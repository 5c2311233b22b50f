"""Transcribing from stored features is transcribing from audio."""

import pytest
import torch
from tiny_training import corpus, dump, make_lively, training_arguments  # noqa: F401
from transfer_stages import recipe  # noqa: F401

from espnet_wsm.data.features.reader import FeatureReader
from espnet_wsm.errors import UserError
from espnet_wsm.recognition.greedy import GreedyCtcDecoder, Hypothesis
from espnet_wsm.recognition.sets import _read_audio
from espnet_wsm.recognition.stored import load_stored_decoder, rate_utterance, transcribe_stored


def test_stored_features_give_what_audio_gives(recipe, monkeypatch):  # noqa: F811
    cut = recipe.store()
    recipe.train(cut, "asr")
    exp = recipe.exp / "asr"
    make_lively(exp)
    decoder = GreedyCtcDecoder(exp / "config.yaml", exp / "valid.loss.ave.pth")
    (ids, batch), = _read_audio(recipe.dump / "raw/dev/wav.scp", 3)  # fmt: skip
    wanted = dict(zip(ids, decoder(**batch), strict=True))
    assert len({each.text for each in wanted.values()} - {""}) == 3, "they tell utterances apart"

    stored = load_stored_decoder(exp, "valid.loss.ave.pth", cut)
    assert stored.model.encoder.prefix is None, "no frozen layer runs"
    done = []
    features = FeatureReader(cut / "dev/feats.scp")
    found = dict(transcribe_stored(stored, features, [["u1", "u2"], ["u3"]], done.append))
    assert done == [2, 1]
    for id in ids:
        assert (found[id].text, found[id].token_ids) == (wanted[id].text, wanted[id].token_ids)
        assert found[id].score == pytest.approx(wanted[id].score, abs=1e-4)
        assert rate_utterance(found[id]) == pytest.approx(rate_utterance(wanted[id]), abs=1e-4)
        assert 0 < rate_utterance(found[id]) < 1


def test_a_model_of_another_kind_is_refused(recipe):  # noqa: F811
    cut = recipe.store()
    recipe.train(cut, "asr")
    file = recipe.exp / "asr/valid.loss.ave.pth"
    torch.save({"model": torch.load(file)}, file)
    with pytest.raises(UserError, match="cannot transcribe from stored features"):
        load_stored_decoder(recipe.exp / "asr", "valid.loss.ave.pth", cut)


def test_an_utterance_without_words_has_no_confidence():
    assert rate_utterance(Hypothesis("", [], [], -1.0)) == 0.0
