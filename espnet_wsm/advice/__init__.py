"""Which upstream and which settings for a corpus, from what was measured here; ``rules`` is the table."""
