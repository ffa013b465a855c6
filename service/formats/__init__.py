"""A forecast as bytes: NetCDF, JSON, CoverageJSON, PNG; runs in the model's process."""
