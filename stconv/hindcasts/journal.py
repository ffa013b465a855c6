"""The journal of a hindcast: what it was made from, and which chunks are complete.

It is part of the store. The attribute `stconv_hindcast` says what the forecasts were made from. The variable
`hindcast_status` has the same chunks along the reference times as the forecasts, and its chunk is written
after theirs: a chunk of the journal that is there vouches for a chunk of every variable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stconv.errors import ConfigError

ATTRIBUTE, STATUS = "stconv_hindcast", "hindcast_status"
OPEN, MADE, MISSING = 0, 1, 2
STATUS_ATTRIBUTES = {
    "standard_name": "status_flag",
    "long_name": "whether the forecast of a reference time was made",
    "flag_values": np.array([OPEN, MADE, MISSING], dtype=np.int8),
    "flag_meanings": "not_made_yet made inputs_missing",
}
FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """What the forecasts of a hindcast are made from; two runs with different ones do not mix.

    Attributes:
        model: Fingerprint of the model, see `fingerprint.py`.
        source: Fingerprint of the archive.
        engine: Engine of the network.
        steps: Number of leads.
        bands: Whether the bounds are stored.
        allowed_missing_share: Share of missing values that is allowed; None for the model's.
        first: First reference time.
        last: Last reference time.
        n: Number of reference times.
    """

    model: str
    source: str
    engine: str
    steps: int
    bands: bool
    allowed_missing_share: float | None
    first: str
    last: str
    n: int

    def to_text(self) -> str:
        """Return the origin as the text that is stored."""
        return json.dumps({"format": FORMAT, **asdict(self)})


_SAID: Mapping[str, str] = {
    "model": "the model",
    "source": "the archive",
    "engine": "the engine",
    "steps": "the number of leads",
    "bands": "the choice of bands",
    "allowed_missing_share": "the allowed share of missing values",
    "first": "the first reference time",
    "last": "the last reference time",
    "n": "the number of reference times",
}
_UNREADABLE = ("model", "source")
"""Hashes, whose values tell a reader nothing."""


def read_origin(text: Any, where: str) -> dict[str, Any]:
    """Read the stored text.

    Raises:
        ConfigError: It is not the text of a hindcast, or of a later format.
    """
    try:
        values = dict(json.loads(text))
        if values.pop("format") == FORMAT:
            return values
    except (TypeError, ValueError, KeyError):
        pass
    raise ConfigError(
        f"'{where}' is not a hindcast that this version of stconv can continue or score. Name another one."
    )


def refuse_other(stored: Mapping[str, Any], ours: Origin, where: str) -> None:
    """Refuse to go on with a hindcast that was made from something else.

    Raises:
        ConfigError: Says what differs.
    """
    wanted = asdict(ours)
    different = [name for name in wanted if stored.get(name) != wanted[name]]
    if not different:
        return
    parts = [
        _SAID[name] if name in _UNREADABLE else f"{_SAID[name]} ({stored.get(name)} then, {wanted[name]} now)"
        for name in different
    ]
    changed = f"{', '.join(parts)} {'has' if len(parts) == 1 else 'have'} changed"
    raise ConfigError(
        f"The hindcast '{where}' was begun otherwise: {changed} since. Its forecasts would mix two origins. "
        "Go on as it was begun, name another output, or remove it to start anew."
    )
