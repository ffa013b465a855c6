"""Scores of a model and its reference forecasts in one pass over a period, and the check for leaks."""
