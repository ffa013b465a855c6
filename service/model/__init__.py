"""Runs in the model's process: forecasts in batches, the job under way, the archive."""
