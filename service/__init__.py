"""The HTTP service over stconv.forecast: a thin layer without numerics."""
