"""Writers of forecasts: NetCDF, JSON, CoverageJSON and PNG; they run in the model's process."""
