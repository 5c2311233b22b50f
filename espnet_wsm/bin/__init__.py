"""The commands that people type: parse, call, report."""
