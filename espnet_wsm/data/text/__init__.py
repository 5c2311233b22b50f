"""Transcripts: spelling, tokens, word n-grams."""
