"""What the attention of an upstream knows, without labels: where its heads look, and what it gives."""
