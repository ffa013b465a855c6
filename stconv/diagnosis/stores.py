"""The tracking store and the registry: whether they answer."""

from __future__ import annotations

from collections.abc import Iterator

from stconv.diagnosis.finding import Finding, State
from stconv.errors import TrackingError


def check_tracking() -> Iterator[Finding]:
    """Ask the tracking store for experiments, and the registry for models."""
    from stconv.tracking.store import connect, explained, shown_uri

    address = shown_uri()
    try:
        client = connect(reading=True)
        with explained("list the experiments"):
            n_experiments = len(client.search_experiments())
        with explained("list the registered models"):
            n_models = len(client.search_registered_models())
    except TrackingError as error:
        text, _, remedy = str(error).partition("\n")
        if address.startswith("sqlite") and "No experiments are recorded" in text:
            yield Finding("tracking", State.OK, f"{address} does not exist yet; the first run makes it.")
        else:
            yield Finding("tracking", State.FAULT, text, remedy)
        return
    yield Finding(
        "tracking", State.OK, f"{address} answers: {n_experiments} experiments, {n_models} registered models."
    )
