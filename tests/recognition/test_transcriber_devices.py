"""Transcribing on the CPU and on a GPU gives the same text."""

import numpy as np
import torch

import espnet_wsm
from espnet_wsm.bin import asr_train


def test_the_text_of_short_and_long_audio_is_that_of_the_cpu(training_arguments, tmp_path, device):
    exp = tmp_path / "asr_x"
    asr_train.main([*training_arguments(exp), "--max_epoch", "1"])
    rng = np.random.default_rng(5)
    loudness = 0.5 + 0.45 * np.sin(np.arange(20 * 16000) / 16000 * 9)
    audio = (0.1 * loudness * rng.standard_normal(20 * 16000)).astype(np.float32)

    transcribe = espnet_wsm.load(exp, device="cpu", chunk_seconds=8)
    decoder = transcribe.decoder
    # After one epoch every frame says the same; a head that tells frames apart, by a wide margin.
    with torch.no_grad():
        encoded, _ = decoder.model.encode(torch.from_numpy(audio[:16000])[None], torch.tensor([16000]))
        [file] = exp.glob("valid.loss.ave.pth")
        state = torch.load(file)
        weight, bias = state["ctc.ctc_lo.weight"], state["ctc.ctc_lo.bias"]
        weight.copy_(100 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
        bias.copy_(-weight @ encoded[0].mean(dim=0))
        torch.save(state, file)

    texts = []
    for place in ("cpu", str(device)):
        transcribe = espnet_wsm.load(exp, device=place, chunk_seconds=8)
        assert next(transcribe.decoder.model.parameters()).device.type == torch.device(place).type
        texts.append([transcribe(audio[: 3 * 16000]), transcribe(audio)])
    assert len(set(texts[0][0])) > 2 and len(texts[0][1]) > 2 * len(texts[0][0])
    assert texts[1] == texts[0]
