"""The two formats we read and write."""

NETCDF = "application/x-netcdf"
JSON = "application/json"
