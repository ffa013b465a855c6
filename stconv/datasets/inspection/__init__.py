"""What `stconv inspect` says about a source; loads no torch."""
