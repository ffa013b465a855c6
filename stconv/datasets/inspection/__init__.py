"""The description of a source by `stconv inspect`; loads no torch."""
