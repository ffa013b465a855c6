"""Jobs: forecasts that take longer than a client wants to wait."""
