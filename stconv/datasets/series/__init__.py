"""A series as one array, its periods and its windows."""
