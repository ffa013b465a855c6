"""From xarray to windows to tensors."""
