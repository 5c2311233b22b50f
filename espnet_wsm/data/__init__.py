"""Kaldi data directories, audio and tokens. Imports neither torch nor ESPnet."""
