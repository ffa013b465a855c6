"""The check, before the test period is scored, that a forecast does not use the future."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.series.dataset import WindowDataset, window
from stconv.errors import LeakError
from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

UNEXPLAINED = 1e-4
"""Share of a target's variance that an input leaves unexplained; below it, the input counts as a copy."""
MAX_WINDOWS = 64


def check_causality(
    forecast: Callable[[dict[str, Tensor]], Tensor], data: GridDataModule, device: torch.device
) -> None:
    """Refuse to score a forecast that uses what it forecasts.

    There are two tests. Everything after the reference time of a window is replaced by noise, and the
    forecast must not change. And no input may be a copy of a target's future, as in a file with a shifted
    variable.

    Args:
        forecast: Function from a batch to the forecast in physical units.
        data: Data module after `setup`.
        device: Device on which the forecast is computed.

    Raises:
        LeakError: The forecast depends on the future, or an input is the future of a target.
    """
    _check_future(forecast, data, device)
    _check_inputs(data)


def _check_future(
    forecast: Callable[[dict[str, Tensor]], Tensor], data: GridDataModule, device: torch.device
) -> None:
    series, spec = data.series, data.spec
    i = data.references["test"][len(data.references["test"]) // 2]
    first = i + spec.input_offsets[0]
    steps = slice(first, i + spec.leads + 1)
    values, cycles = np.array(series.values[steps]), series.cycles[steps].astype(np.float32)
    known = np.isfinite(values)
    center, spread = values[known].mean(), values[known].std() + 1
    noise = np.random.default_rng(0).uniform(center, center + spread, values[i - first + 1 :].shape)
    changed = values.copy()
    changed[i - first + 1 :] = np.where(known[i - first + 1 :], noise, np.nan)
    forecasts = []
    for part in (values, changed):
        batch = _batch(window(part, cycles, spec, i - first, series.n_targets), device)
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(0)  # a forecast may be drawn at random
            forecasts.append(forecast(batch))
    ours, theirs = forecasts
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(spread), equal_nan=True):
        raise LeakError(
            f"The forecast changes by up to {float((ours - theirs).abs().nan_to_num().max()):.3g} if the "
            "data after its reference time change: it knows the future, and its scores would mean "
            "nothing. Check what the network and the preparation read from the batch besides `inputs`."
        )


def _check_inputs(data: GridDataModule) -> None:
    """Compare the newest frame of every input that is no target with each target at each lead."""
    series, references = data.series, data.references["test"]
    others = [
        i for i, name in enumerate(series.variables) if i >= series.n_targets and name in data.settings.inputs
    ]
    if not others:
        return
    windows = WindowDataset(series, data.spec, evenly_spaced(references, MAX_WINDOWS))
    batch = windows.batch(range(len(windows)))
    truth = batch["targets"].numpy().astype(np.float64)
    newest = batch["inputs"][:, :, -1].numpy().astype(np.float64)
    for other in others:
        for target in range(series.n_targets):
            for lead in range(data.leads):
                future = truth[:, target, lead]
                left, own = (_unexplained(newest[:, j], future) for j in (other, target))
                if left < UNEXPLAINED and left < 0.01 * own:
                    raise LeakError(
                        f"Input '{series.variables[other]}' is target '{series.variables[target]}' "
                        f"{lead + 1} step{'s' if lead else ''} later (it leaves {left:.1e} of the "
                        "variance unexplained), so the forecast would know the answer. Take it out of "
                        "`data.preparation.inputs`."
                    )


def _unexplained(x: np.ndarray, y: np.ndarray) -> float:
    """Return 1 - squared correlation over the cells known in both; 1 if there is nothing to correlate."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or not (x[known].std() and y[known].std()):
        return 1.0
    return float(1 - np.corrcoef(x[known], y[known])[0, 1] ** 2)


def _batch(sample: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value[None].to(device) for name, value in sample.items()}
