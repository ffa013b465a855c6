"""A typed client of the service."""

from stconv.client.client import Client
from stconv.client.job import Job

__all__ = ["Client", "Job"]
