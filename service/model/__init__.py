"""Everything that runs in the model's process."""
