"""The specification of a fitted preparation, which a bundle stores with its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.harmonics import Term
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.errors import ConfigError
from stconv.plain import from_plain, to_plain


@dataclass(frozen=True)
class FittedEvent:
    """An event and its statistics in the training period.

    Attributes:
        settings: The event.
        units: Units of the variable of the event.
        terms: Terms of its climatology, see `harmonics.Term`.
        frequency: Mean frequency in the training period, of the event or of each class.
        center: Number subtracted from the values of the variable, see `Series.centers`.
    """

    settings: Event
    units: str
    terms: tuple[Term, ...]
    frequency: tuple[float, ...]
    center: float = 0.0


@dataclass(frozen=True)
class PreparationSpec:
    """All of a fitted preparation that is not a tensor.

    Attributes:
        settings: Settings of the preparation.
        climatology_terms: Terms of the climatology, see `harmonics.Term`.
        event: The event that is forecast instead of fields, if any.
    """

    settings: PreparationSettings
    climatology_terms: tuple[Term, ...]
    event: FittedEvent | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON values."""
        values = to_plain(self)
        if self.event is None:
            del values["event"]
        elif not self.event.center:
            del values["event"]["center"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PreparationSpec:
        """Restore a specification from `to_json`.

        Raises:
            ConfigError: A value is missing or unknown, or contradicts another.
        """
        try:
            event = values.get("event")
            return cls(
                from_plain(PreparationSettings, values["settings"], "preparation"),
                _terms(values["climatology_terms"]),
                None
                if event is None
                else FittedEvent(
                    from_plain(Event, event["settings"], "event"),
                    str(event["units"]),
                    _terms(event["terms"]),
                    tuple(float(share) for share in event["frequency"]),
                    float(event.get("center", 0.0)),
                ),
            )
        except KeyError as error:
            raise ConfigError(f"the preparation lacks {error}; export the model again.") from error


def _terms(values: Any) -> tuple[Term, ...]:
    return tuple(tuple(int(n) for n in term) for term in values)
