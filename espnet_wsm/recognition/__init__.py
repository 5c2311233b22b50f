"""Recognition: audio in, text out; by greedy CTC, with a language model, or in chunks of long audio."""
