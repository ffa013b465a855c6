"""Data on the network: addresses, connections that are tried again, files read by ranges, Zarr stores."""
