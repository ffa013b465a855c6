"""Media types that the service reads and writes."""

NETCDF = "application/x-netcdf"
JSON = "application/json"
COVERAGE = "application/prs.coverage+json"
PNG = "image/png"
