"""Public data sets: their recipes, the download, and a generated data set."""
