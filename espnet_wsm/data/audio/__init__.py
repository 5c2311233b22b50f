"""Audio files, read whole or in part, checked, and brought to one channel and one rate."""
