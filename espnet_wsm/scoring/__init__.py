"""Error rates: trn files, sclite, the Python scorer, the results tables. Imports neither torch nor ESPnet."""
