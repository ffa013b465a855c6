"""One reading of a period beside its references, and the check that a forecast does not know the future."""
