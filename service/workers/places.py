"""The places of a model's requests, shared out among its clients, each with a deadline."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from service.problems import DeadlineExceeded, Problem, Unavailable

asker: ContextVar[str] = ContextVar("asker", default="")
"""The client of the present request: its key, or its address without keys; "" for the server itself."""
SLOW_SECONDS = 1.0
"""Time after which a body that has not arrived keeps no place any more."""


class Place:
    """The place of one request, from its headers to its answer.

    Attributes:
        client: Client that sent the request.
        aside: Whether it is not counted, because its body is slow.
        movable: Whether it may be given to another client; not once the model has the request.
        timeout: Its end: the deadline, or at once where another client needs the place.
        seconds: Time from which the deadline was counted, s; 0 for no deadline.
        problem: Answer if it ends before the deadline.
    """

    def __init__(self, client: str, timeout: asyncio.Timeout) -> None:
        self.client, self.timeout, self.seconds = client, timeout, 0.0
        self.aside, self.movable = False, True
        self.problem: Problem | None = None

    def set_deadline(self, seconds: float | None) -> None:
        """End the request this time from now; None for no deadline."""
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self.seconds = seconds or 0.0
        if not self.timeout.expired() and self.problem is None:
            self.timeout.reschedule(end)

    def end(self, problem: Problem) -> None:
        """End the request at once, with this answer."""
        if self.problem is None and not self.timeout.expired():
            self.problem = problem
            self.timeout.reschedule(asyncio.get_running_loop().time())


class Places:
    """A number of places. Where all are taken, a client with fewer takes one from the client with the most.

    A client alone may have them all; of several each gets its share, and a request that the model has already
    is finished in any case.

    Args:
        limit: Number of places.
        model: Name of the model, for messages.
    """

    def __init__(self, limit: int, model: str) -> None:
        self.limit, self._model = limit, model
        self._held: list[Place] = []

    @property
    def taken(self) -> int:
        """Number of places that are taken."""
        return sum(not place.aside for place in self._held)

    def refusal(self, client: str) -> Unavailable | None:
        """The answer to a further request of a client; None if there is a place for it."""
        if self.taken < self.limit or self._movable(client) is not None:
            return None
        return Unavailable(
            f"Model {self._model} is busy: {self.taken} requests run or wait, which is the limit.",
            requests=self.taken,
            limit=self.limit,
        )

    @asynccontextmanager
    async def take(self, client: str, seconds: float | None) -> AsyncIterator[Place]:
        """Hold a place; it ends at the deadline.

        Args:
            client: Client that sent the request.
            seconds: Deadline, s from now; None for none.

        Raises:
            Unavailable: There is none, or another client takes it.
            DeadlineExceeded: The deadline passed.
        """
        self._make_room(client)
        timeout = asyncio.timeout(None)
        place = Place(client, timeout)
        self._held.append(place)
        try:
            async with timeout:
                place.set_deadline(seconds)
                yield place
        except TimeoutError:
            if not timeout.expired():
                raise
            if place.problem is not None:
                raise place.problem from None
            raise DeadlineExceeded(
                f"The forecast was not ready within {place.seconds:g} s.", limit_seconds=place.seconds
            ) from None
        finally:
            if place in self._held:
                self._held.remove(place)

    @asynccontextmanager
    async def while_read(self, place: Place) -> AsyncIterator[None]:
        """Keep the place of a body that arrives, unless it is slow; a slow one needs one again at its end.

        Raises:
            Unavailable: The body was slow, and all places are taken now.
        """

        def stand_aside() -> None:
            place.aside = True

        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, stand_aside)
        try:
            yield
        finally:
            slow.cancel()
        if place.aside:
            self._make_room(place.client)
            place.aside = False

    def _make_room(self, client: str) -> None:
        refusal = self.refusal(client)
        if refusal is not None:
            raise refusal
        if self.taken >= self.limit:
            moved = self._movable(client)
            assert moved is not None
            self._held.remove(moved)
            moved.end(
                Unavailable(
                    f"Model {self._model} is busy, and other clients have fewer requests there.",
                    limit=self.limit,
                )
            )

    def _movable(self, client: str) -> Place | None:
        """The newest place, of the client with the most, that this client may take."""
        counts = Counter(place.client for place in self._held if not place.aside)
        for richest, most in counts.most_common():
            if most <= counts[client] + 1:
                return None
            for place in reversed(self._held):
                if place.client == richest and place.movable and not place.aside:
                    return place
        return None
