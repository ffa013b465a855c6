"""Messages between the service's processes."""
