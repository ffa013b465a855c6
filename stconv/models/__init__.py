"""Whole networks, each one (batch, channel, time, lat, lon) in and out."""
