"""The web layer over stconv.forecast; thin, no numerics."""
