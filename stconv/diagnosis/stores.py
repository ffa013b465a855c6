"""The tracking store and the registry: whether they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stconv.diagnosis.finding import Finding, State
from stconv.errors import TrackingError


def check_tracking() -> Iterator[Finding]:
    """Ask the tracking store for experiments, and the registry for models."""
    from stconv.tracking import tracking_uri
    from stconv.tracking.store import connect, explained

    address = without_password(tracking_uri())
    try:
        client = connect(reading=True)
        with explained("list the experiments"):
            n_experiments = len(client.search_experiments())
        with explained("list the registered models"):
            n_models = len(client.search_registered_models())
    except TrackingError as error:
        text, _, remedy = without_password(str(error)).partition("\n")
        if tracking_uri().startswith("sqlite") and "No experiments are recorded" in text:
            yield Finding("tracking", State.OK, f"{address} does not exist yet; the first run makes it.")
        else:
            yield Finding("tracking", State.FAULT, text, remedy)
        return
    yield Finding(
        "tracking", State.OK, f"{address} answers: {n_experiments} experiments, {n_models} registered models."
    )


def without_password(text: str) -> str:
    """Replace the password of an address."""
    return re.sub(r"(\w+://[^:/@\s]+):[^@\s]+@", r"\1:***@", text)
