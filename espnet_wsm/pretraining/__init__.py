"""Pre-training a small HuBERT: cluster targets, export, and a probe of the result."""
