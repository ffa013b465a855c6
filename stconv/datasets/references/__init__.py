"""Reference forecasts that a network has to beat."""
