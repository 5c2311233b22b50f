"""Pages to look at: one experiment, or two side by side, in one HTML file that opens without a network."""
