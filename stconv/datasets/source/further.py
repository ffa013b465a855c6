"""Settings of a further source, whose variables join a series on another grid or step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from stconv.datasets.remote.address import refuse_secrets
from stconv.datasets.source.step_text import step_length
from stconv.errors import ConfigError

Regridding = Literal["bilinear", "conservative"]
Combining = Literal["mean", "sum", "min", "max", "last"]


@dataclass(frozen=True)
class FurtherSource:
    """A source whose variables are brought to the grid and the steps of the series.

    Attributes:
        paths: File, files, folder or pattern, or their addresses.
        variables: Names of the variables to take.
        select: Value per further dimension, as in `GridSpec`.
        units: Target units per variable, as in `GridSpec`.
        regrid: "bilinear" between cell centers, or "conservative", which keeps means over areas and suits
            rain and a finer grid than that of the series.
        combine: Method that makes one step of the series of several shorter ones; of a step that is as long
            or longer, the newest known value is carried on.
        delay: Time from the stamp of a value until it is known, for example ``1d`` for a daily mean that is
            stamped with the beginning of its day.

    Raises:
        ConfigError: A setting is unknown, no variable is named, or the delay is no time.
        FileError: An address holds a password or a key.
    """

    paths: str | list[str]
    variables: list[str]
    select: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    regrid: Regridding = "bilinear"
    combine: Combining = "mean"
    delay: str | None = None

    def __post_init__(self) -> None:
        if not self.variables:
            raise ConfigError(f"The source {self.paths} names no variables; expected those to take from it.")
        for name, value, known in (
            ("regrid", self.regrid, get_args(Regridding)),
            ("combine", self.combine, get_args(Combining)),
        ):
            if value not in known:
                raise ConfigError(
                    f"{name} of the source {self.paths} is {value!r}; expected {', '.join(known)}."
                )
        if self.delay is not None and self.delay != "0h" and step_length(self.delay) is None:
            raise ConfigError(
                f"delay of the source {self.paths} is {self.delay!r}; expected 6h, 1d or 10min."
            )
        refuse_secrets(self.files)

    @property
    def files(self) -> list[str]:
        """Paths as a list."""
        return [self.paths] if isinstance(self.paths, str) else list(self.paths)

    @property
    def title(self) -> str:
        """Name in messages."""
        return ", ".join(self.files[:3])


def relocated(sources: Sequence[FurtherSource], paths: Mapping[str, str]) -> list[FurtherSource]:
    """Read further sources from other places than before.

    Args:
        sources: The sources.
        paths: New path by variable; one variable of a source is enough.

    Raises:
        ConfigError: No source has such a variable.
    """
    known = [name for source in sources for name in source.variables]
    for name in paths:
        if name not in known:
            raise ConfigError(
                f"No further source has the variable '{name}'; expected "
                f"{'one of ' + ', '.join(known) if known else 'none, since the model has no further source'}."
            )
    found = []
    for source in sources:
        new = [str(paths[name]) for name in source.variables if name in paths]
        found.append(replace(source, paths=new[0]) if new else source)
    return found
