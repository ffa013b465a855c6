"""Pooled sums per window, the basis of every score: sums and counts first, ratios last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr

from stconv.errors import ConfigError, DataError, ShapeError
from stconv.verification.scores.batch import COMMON, PER_CONTENDER, WEIGHTINGS, Field, Sums, judged, sum_cells


class ScoreSums:
    """Sums of errors per window, variable and lead, of several contenders on the same cells.

    The scores do not depend on the order of the windows, on batches or on ranks (`merge`); a window that was
    added twice counts once.

    Args:
        variables: Names of the scored variables, in channel order.
        n_leads: Number of leads.
        units: Units of each variable, by name or in order; unknown ones are "".
        circular: Variables that are directions in degrees, whose errors are smallest angles.
    """

    def __init__(
        self,
        variables: Sequence[str],
        n_leads: int,
        units: Mapping[str, str] | Sequence[str] | None = None,
        circular: Sequence[str] = (),
    ):
        self.variables, self.circular = tuple(variables), tuple(circular)
        self.n_leads = n_leads
        if units is None or isinstance(units, Mapping):
            units = [dict(units or {}).get(name, "") for name in self.variables]
        if len(units) != len(self.variables):
            raise ConfigError(f"{len(units)} units for {len(self.variables)} variables {self.variables}.")
        self.units = dict(zip(self.variables, units, strict=True))
        self.contenders: tuple[str, ...] = ()
        self._parts: list[tuple[np.ndarray, Sums]] = []

    def add(
        self,
        truth: Field,
        forecasts: Mapping[str, Field],
        cell_weight: Field | None,
        reference_index: Field | Sequence[int],
        forecastable: Field | None = None,
    ) -> None:
        """Add a batch of windows; the arguments are those of `stconv.verification.scores.batch.sum_cells`.

        Args:
            truth: (batch, channel, leads, lat, lon), physical units; NaN is not scored.
            forecasts: By contender, shaped like the truth; "model" (or else the first) is judged.
            cell_weight: (lat, lon), or None: 1.
            reference_index: Index of each window's reference time in the series, (batch,).
            forecastable: Cells with a possible forecast, bool, (channel, lat, lon) or (lat, lon), or None.

        Raises:
            ShapeError: The shapes differ from each other or from the stated variables and leads.
            MissingValuesError: The judged forecast is not finite where one is possible and truth is known.
            ConfigError: The contenders differ from those added before.
        """
        index = np.asarray(torch.as_tensor(reference_index).cpu(), np.int64).reshape(-1)
        expected = (len(index), len(self.variables), self.n_leads)
        if len(truth.shape) != 5 or tuple(truth.shape[:3]) != expected:
            raise ShapeError(
                f"The truth is {tuple(truth.shape)}; expected (batch, channel, leads, lat, lon) starting "
                f"with {expected}, for the variables {self.variables}."
            )
        if self.contenders and tuple(forecasts) != self.contenders:
            raise ConfigError(
                f"Contenders {tuple(forecasts)} differ from those of earlier windows, {self.contenders}."
            )
        turning = [name in self.circular for name in self.variables]
        self._parts.append((index, sum_cells(truth, forecasts, cell_weight, forecastable, turning)))
        self.contenders = tuple(forecasts)

    def merge(self, *others: ScoreSums) -> ScoreSums:
        """Merge with the windows of others, for example of other ranks; a window in both counts once.

        Raises:
            ConfigError: They have other variables, leads or contenders.
        """
        merged = ScoreSums(self.variables, self.n_leads, self.units, self.circular)
        for part in (self, *others):
            if (part.variables, part.n_leads, part.circular) != (self.variables, self.n_leads, self.circular):
                raise ConfigError(
                    f"Scores of {part.variables} at {part.n_leads} leads cannot be merged with those of "
                    f"{self.variables} at {self.n_leads} leads."
                )
            if not part.n_windows:
                continue
            merged.contenders = merged.contenders or part.contenders
            if part.contenders != merged.contenders:
                raise ConfigError(
                    f"Scores of the contenders {part.contenders} cannot be merged with those of "
                    f"{merged.contenders}."
                )
            merged._parts.append((part.reference_index, part.sums))
        return merged

    def select(self, windows: np.ndarray) -> ScoreSums:
        """Select windows (a season, a month) by a mask or by positions, in order of reference time."""
        sums = {key: value[windows] for key, value in self.sums.items()}
        index = self.reference_index[windows]
        return ScoreSums.from_sums(self.variables, self.units, self.contenders, index, sums, self.circular)

    def over_leads(self) -> ScoreSums:
        """The same windows with all leads pooled into one."""
        sums = {key: value.sum(-2, keepdims=True) for key, value in self.sums.items()}
        return ScoreSums.from_sums(
            self.variables, self.units, self.contenders, self.reference_index, sums, self.circular
        )

    @property
    def reference_index(self) -> np.ndarray:
        """Reference index of each window, int64, ascending."""
        return self._ordered()[0]

    @property
    def sums(self) -> Sums:
        """By statistic: float64, (window, variable, lead, weighting), or with contender after window."""
        return self._ordered()[1]

    @property
    def n_windows(self) -> int:
        """Number of different windows added."""
        return len(self.reference_index) if self._parts else 0

    @property
    def model(self) -> str:
        """The judged contender: "model", or else the first."""
        self._ordered()
        return judged(self.contenders)

    @property
    def references(self) -> tuple[str, ...]:
        """The other contenders."""
        return tuple(name for name in self.contenders if name != self.model)

    def of(self, statistic: str, contender: str | None = None, weighting: str = "area") -> np.ndarray:
        """A statistic of every window, float64, (window, variable, lead).

        Raises:
            DataError: No window was added.
            ConfigError: The contender or the weighting is unknown.
        """
        if weighting not in WEIGHTINGS:
            raise ConfigError(f"Unknown weighting {weighting!r}; expected one of {WEIGHTINGS}.")
        values = self.sums[statistic][..., WEIGHTINGS.index(weighting)]
        if statistic in COMMON:
            return values
        if contender not in self.contenders:
            raise ConfigError(f"Unknown contender {contender!r}; scored were {self.contenders}.")
        return values[:, self.contenders.index(contender)]

    def mse(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Mean squared error, (variable, lead), squared units: sum of w (f - o)^2 over sum of w."""
        return self._mean("squared_error", contender, weighting)

    def rmse(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Root mean squared error, (variable, lead), units of the variable; the root is taken last."""
        return np.sqrt(self.mse(contender, weighting))

    def mae(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Mean absolute error, (variable, lead), units of the variable."""
        return self._mean("absolute_error", contender, weighting)

    def bias(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Mean of forecast minus truth, (variable, lead), units of the variable."""
        return self._mean("error", contender, weighting)

    def acc(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Anomaly correlation, (variable, lead), in [-1, 1]; NaN for the climatology, or without one.

        acc = sum w f' o' / sqrt(sum w f'^2  sum w o'^2), with f' and o' departures from the climatology,
        pooled over cells and windows, without subtracting another mean.

        Source:
            Wilks (2011), Statistical Methods in the Atmospheric Sciences: uncentered anomaly correlation.
        """
        product = self.of("anomaly_product", contender, weighting).sum(0)
        forecast_square = self.of("anomaly_square", contender, weighting).sum(0)
        return ratio(product, np.sqrt(forecast_square * self.of("truth_square", None, weighting).sum(0)))

    def skill(self, contender: str, reference: str, weighting: str = "area") -> np.ndarray:
        """1 - RMSE / RMSE of the reference, (variable, lead): 1 is perfect, 0 no better, negative worse."""
        return 1 - ratio(self.rmse(contender, weighting), self.rmse(reference, weighting))

    def pooled_rmse(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Root mean squared error over all leads together, (variable,), units of the variable."""
        return np.sqrt(self._mean("squared_error", contender, weighting, (0, 2)))

    def pooled_mae(self, contender: str, weighting: str = "area") -> np.ndarray:
        """Mean absolute error over all leads together, (variable,), units of the variable."""
        return self._mean("absolute_error", contender, weighting, (0, 2))

    def pooled_skill(self, contender: str, reference: str, weighting: str = "area") -> np.ndarray:
        """Skill of the error over all leads together, (variable,)."""
        return 1 - ratio(self.pooled_rmse(contender, weighting), self.pooled_rmse(reference, weighting))

    def left_out_share(self, weighting: str = "cells") -> np.ndarray:
        """Share of the known truth that was not scored, (variable,), in [0, 1]."""
        left_out, weight = (self.of(key, None, weighting).sum((0, 2)) for key in ("left_out", "weight"))
        return ratio(left_out, left_out + weight)

    def to_dataset(self) -> xr.Dataset:
        """All sums as a Dataset, which `from_dataset` reads back."""
        dims = ("window", "variable", "lead", "weighting")
        with_contender = ("window", "contender", *dims[1:])
        return xr.Dataset(
            {key: (with_contender if key in PER_CONTENDER else dims, v) for key, v in self.sums.items()},
            coords={
                "reference_index": ("window", self.reference_index),
                "contender": list(self.contenders),
                "variable": list(self.variables),
                "units": ("variable", [self.units[name] for name in self.variables]),
                "circular": ("variable", [int(name in self.circular) for name in self.variables]),
                "lead": np.arange(1, self.n_leads + 1),
                "weighting": list(WEIGHTINGS),
            },
        )

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> ScoreSums:
        """Read back what `to_dataset` made."""
        variables, units, contenders = (
            [str(name) for name in ds[key].values] for key in ("variable", "units", "contender")
        )
        sums = {key: ds[key].values.astype(np.float64) for key in (*COMMON, *PER_CONTENDER)}
        index = ds["reference_index"].values.astype(np.int64)
        turning = ds["circular"].values if "circular" in ds else [0] * len(variables)  # none in older files
        circular = [name for name, turns in zip(variables, turning, strict=True) if turns]
        return cls.from_sums(variables, units, contenders, index, sums, circular)

    @classmethod
    def from_sums(
        cls,
        variables: Sequence[str],
        units: Mapping[str, str] | Sequence[str],
        contenders: Sequence[str],
        reference_index: np.ndarray,
        sums: Sums,
        circular: Sequence[str] = (),
    ) -> ScoreSums:
        """Make an instance from sums in the form of `sums`."""
        result = cls(variables, sums["weight"].shape[2], units, circular)
        result.contenders = tuple(contenders)
        result._parts.append((reference_index, sums))
        return result

    def _mean(
        self, statistic: str, contender: str, weighting: str, axes: tuple[int, ...] = (0,)
    ) -> np.ndarray:
        return ratio(
            self.of(statistic, contender, weighting).sum(axes), self.of("weight", None, weighting).sum(axes)
        )

    def _ordered(self) -> tuple[np.ndarray, Sums]:
        if not self._parts:
            raise DataError(
                f"No window of {self.variables} was scored: the period holds none, or none was added."
            )
        if len(self._parts) > 1 or np.any(np.diff(self._parts[0][0]) <= 0):
            index, first = np.unique(np.concatenate([i for i, _ in self._parts]), return_index=True)
            sums = {
                key: np.concatenate([sums[key] for _, sums in self._parts])[first]
                for key in (*COMMON, *PER_CONTENDER)
            }
            self._parts = [(index, sums)]
        return self._parts[0]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where nothing was scored or the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
