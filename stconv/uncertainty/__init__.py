"""Uncertainty bands for any network, and their calibration."""
