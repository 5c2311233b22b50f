"""Readers of weights: pickles without running their code, Whisper in three forms."""
