"""Conversion of a batch in physical units to the input of a network, and back."""
