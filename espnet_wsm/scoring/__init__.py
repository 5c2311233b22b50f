"""Error rates: trn files, sclite, the Python scorer and the results table. Imports neither torch nor ESPnet."""
