"""Directories of transformers 5, whose feature extractor is in ``processor_config.json``."""

import functools
import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import CHECKPOINTS, POST_NORM, PRE_NORM
from transformers import (
    AutoFeatureExtractor,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2Processor,
    WhisperProcessor,
    WhisperTokenizer,
)

from espnet_wsm.errors import UserError
from espnet_wsm.upstream import find_checkpoint, load_upstream

OWN, PROCESSOR = "preprocessor_config.json", "processor_config.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """``written(family, variant)`` is one of ``CHECKPOINTS``."""
    return functools.cache(lambda *key: CHECKPOINTS[key](tmp_path_factory.mktemp("upstream") / "model"))


def save_processor(original: str, copy: Path, tmp_path: Path) -> Path:
    """A copy of an upstream as ``save_pretrained`` of the model and of the processor leave it."""
    shutil.copytree(original, copy)
    extractor = AutoFeatureExtractor.from_pretrained(copy)
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "<|endoftext|>": 4}))
    if "whisper" in json.loads((copy / "config.json").read_text())["model_type"]:
        tokenizer = WhisperTokenizer()
        processor = WhisperProcessor(extractor, tokenizer)
    else:
        processor = Wav2Vec2Processor(extractor, Wav2Vec2CTCTokenizer(vocabulary))
    (copy / OWN).unlink()
    processor.save_pretrained(copy)
    assert (copy / PROCESSOR).is_file() and not (copy / OWN).exists()
    return copy


@pytest.mark.parametrize(
    ("family", "variant"),
    [
        *(("hf_wav2vec2", variant) for variant in (POST_NORM, PRE_NORM)),
        ("hf_hubert", PRE_NORM),
        ("hf_wavlm", PRE_NORM),
        ("hf_wav2vec2_bert", "layer norm"),
        ("whisper", "pre-norm, on log-mel"),
    ],
)
def test_the_feature_extractor_of_a_processor_is_read(written, tmp_path, family, variant):
    original = str(written(family, variant))
    copy = save_processor(original, tmp_path / "copy", tmp_path)
    (expected, _), (expert, checkpoint) = load_upstream(original), load_upstream(str(copy))
    wavs = [torch.randn(8000), torch.randn(6000) + 1]
    with torch.inference_mode():
        hidden, _ = checkpoint.family.encode(expert, wavs)
        assert torch.equal(hidden, checkpoint.family.encode(expected, wavs)[0])
    # Whisper's log-mel is computed here, from nothing that the file says.
    assert (copy / PROCESSOR in checkpoint.files) == (family != "whisper")


def test_it_is_part_of_the_digest_where_it_is_read_and_only_there(written, tmp_path):
    original = str(written("hf_hubert", PRE_NORM))
    copy = save_processor(original, tmp_path / "copy", tmp_path)
    digest = find_checkpoint(str(copy)).digest
    content = json.loads((copy / PROCESSOR).read_text())
    content["feature_extractor"]["do_normalize"] ^= True
    (copy / PROCESSOR).write_text(json.dumps(content))
    assert find_checkpoint(str(copy)).digest != digest

    both = Path(shutil.copytree(original, tmp_path / "both"))
    shutil.copy(copy / PROCESSOR, both)
    assert find_checkpoint(str(both)).digest == find_checkpoint(original).digest


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"processor_class": "Wav2Vec2Processor"}', f"has no {OWN}, and no {PROCESSOR} with a feature extr"),
        ("{", f"{PROCESSOR} is damaged"),
    ],
)
def test_a_processor_without_a_feature_extractor_is_none(written, tmp_path, content, fault):
    copy = save_processor(str(written("hf_hubert", PRE_NORM)), tmp_path / "copy", tmp_path)
    (copy / PROCESSOR).write_text(content)
    with pytest.raises(UserError, match=fault):
        load_upstream(str(copy))
