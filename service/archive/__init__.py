"""Stored forecasts: their folder, the server's table of them, and their view as Zarr."""
