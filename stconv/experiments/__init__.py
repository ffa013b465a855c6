"""Experiments: from a configuration to a trained, tested and compared run."""
