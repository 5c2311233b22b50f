"""Grids of experiments over the recipes: what to run, running it, keeping what came out, and the report."""
