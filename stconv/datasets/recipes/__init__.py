"""Public data sets: where each comes from, how it is fetched, and one that is generated."""
