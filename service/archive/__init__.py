"""Stored forecasts: where they are, the server's table of them, and watching the data source."""
