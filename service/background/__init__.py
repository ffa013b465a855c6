"""Background work: jobs and the watch of the data source."""
