"""What all upstreams have in common: the rate of their audio, and their frames of 20 ms."""

SAMPLE_RATE = 16000  # Hz
# The convolutional feature extractor of wav2vec 2.0, HuBERT, WavLM and similar models: kernels 10 3 3 3 3 2
# 2, strides 5 2 2 2 2 2 2, no padding (Baevski et al., 2020, arXiv:2006.11477). In samples.
RECEPTIVE_FIELD, HOP = 400, 320


def count_encoder_frames(num_samples: int) -> int:
    """Number of frames (20 ms at 16 kHz) that an upstream makes from ``num_samples``.

    Whisper may make one more, so what is counted here is safe for it.
    """
    return max(0, (num_samples - RECEPTIVE_FIELD) // HOP + 1)
