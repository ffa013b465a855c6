"""Code of the model process: batched forecasts, the running job, and the archive."""
