"""A job: a forecast computed in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stconv.client.transport import Transport, opened, retry_after
from stconv.errors import ServiceError

if TYPE_CHECKING:
    import xarray as xr

UNFINISHED = ("queued", "running")
SHORTEST_PAUSE_SECONDS = 0.2


class Job:
    """One job of a service, created by `Client.submit`.

    Attributes:
        id: Id of the job; `Client.job(id)` finds it again, also from another process.
    """

    def __init__(self, service: Transport, id: str) -> None:
        self.id = id
        self._service = service

    def status(self) -> dict[str, Any]:
        """Fetch the state: `status`, `leads_done` of `steps`, `progress` in [0, 1], `expires`."""
        found: dict[str, Any] = self._service.ask("GET", f"/v1/jobs/{self.id}").json()
        return found

    def wait(
        self, timeout_seconds: float = 3600.0, on_progress: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        """Wait until the job is done, failed or removed.

        Args:
            timeout_seconds: Longest time to wait, s.
            on_progress: Function called with the progress in [0, 1] after each check.

        Returns:
            The last `status`.

        Raises:
            ServiceError: The job is not finished by then; it continues on the server.
        """
        waited = 0.0
        while True:
            answer = self._service.ask("GET", f"/v1/jobs/{self.id}")
            facts: dict[str, Any] = answer.json()
            if on_progress is not None:
                on_progress(facts["progress"])
            if facts["status"] not in UNFINISHED:
                return facts
            pause = max(retry_after(answer.headers.get("retry-after", "")), SHORTEST_PAUSE_SECONDS)
            if waited + pause > timeout_seconds:
                raise ServiceError(
                    f"Job {self.id} is not finished after {waited:g} s; {facts['leads_done']} of "
                    f"{facts['steps']} leads are done. It continues; `Client.job('{self.id}')` finds it."
                )
            self._service.sleep(pause)
            waited += pause

    def result(self, timeout_seconds: float = 3600.0) -> xr.Dataset:
        """Wait for the job, then fetch the forecast.

        Raises:
            DataError: The input did not fit the model; subclass and message give the reason.
            ServiceError: The job was canceled, has expired, or is not finished in time.
        """
        self.wait(timeout_seconds)
        return opened(self._service.ask("GET", f"/v1/jobs/{self.id}/result").content)

    def cancel(self) -> None:
        """Stop the job, or delete its result."""
        self._service.ask("DELETE", f"/v1/jobs/{self.id}")
