"""The formats we read and write."""

NETCDF = "application/x-netcdf"
JSON = "application/json"
COVERAGE = "application/prs.coverage+json"
PNG = "image/png"
