"""Kaldi data directories: their lists, what is wrong with them, a repaired copy, an overview."""
