"""Bands of uncertainty for any network, and their calibration."""
