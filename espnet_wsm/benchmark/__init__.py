"""What fine-tuning the last layers costs, against today's way: memory, time and size of checkpoints."""
