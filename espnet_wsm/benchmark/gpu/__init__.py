"""The check of a GPU: tests, and what each way to fine-tune needs there, in one command of a few minutes."""
