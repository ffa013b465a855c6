"""From a batch in physical units to what a network sees, and back."""
