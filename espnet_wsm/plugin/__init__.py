"""ESPnet plugin: the encoder, its registration, and the training task."""
