"""The formats we read and write."""

NETCDF = "application/x-netcdf"
JSON = "application/json"
COVERAGE = "application/prs.coverage+json"
PNG = "image/png"
GREGORIAN_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
"""Of CF; CoverageJSON, and with it EDR, has no others."""
