"""The dump directory of ESPnet: utterances as files of one format, and the choice among them."""
