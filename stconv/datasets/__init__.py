"""Gridded series: from files through windows to tensors."""
