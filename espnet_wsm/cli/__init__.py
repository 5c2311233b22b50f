"""The program espnet-wsm: its commands, completion and versions."""
