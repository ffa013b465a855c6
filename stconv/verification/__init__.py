"""Scores per lead, skill against baselines, intervals, plots, the report."""
