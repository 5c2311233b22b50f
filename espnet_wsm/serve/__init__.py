"""A page on which people transcribe, correct and keep recordings, and the server behind it."""
