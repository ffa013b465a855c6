"""Scores: sums and counts first, ratios last; no network and no file."""
