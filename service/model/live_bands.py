"""Bands that adapt to the truths of stored forecasts, kept in the folder of the version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.archive.soundness import set_aside
from service.archive.stores import WIDENING
from service.model.source import say
from stconv.durable import write_whole
from stconv.errors import ShapeError
from stconv.uncertainty.adaptive import Adaptation, outside_shares
from stconv.uncertainty.bands import Bands, as_calibrated, widened


class LiveBands:
    """Widening of the bands of one model version, learned from each truth once, in the order of time.

    The bounds of a stored forecast are first set back to those of the calibration, since forecasts that were
    made in one go, after a pause of the server, could not yet learn from each other.

    Args:
        bands: Bands of the bundle.
        folder: Folder of the version in the archive.
    """

    def __init__(self, bands: Bands, folder: Path) -> None:
        self._path, self._bands = folder / WIDENING, bands
        _, self._n_targets, self._leads = bands.widening.shape
        start = bands.widening.double().numpy()
        self._adaptation = Adaptation(self._n_targets, self._leads, start)
        self._learned = [""] * self._leads
        self._issued: dict[str, list[float]] = {}
        try:
            kept = json.loads(self._path.read_text())
            shape = bands.widening.shape
            widening = np.array(kept["widening"], np.float64).reshape(shape)
            self._adaptation = Adaptation(self._n_targets, self._leads, widening)
            self._learned = [str(kept["learned"][lead]) for lead in range(self._leads)]
            self._issued = {str(name): list(map(float, w)) for name, w in kept["issued"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, ShapeError) as error:
            say(f"the widening of the bands so far is set aside and begun anew: {error}")
            set_aside(self._path)

    @property
    def widening(self) -> Tensor:
        """Widening for forecasts that are made now, (level, target, leads)."""
        return torch.from_numpy(self._adaptation.widening).float()

    def issue(self, name: str) -> None:
        """Note that a forecast was stored with the present widening."""
        self._issued[name] = self.widening.flatten().tolist()
        self._write()

    def learn(self, name: str, bounds: Tensor, truth: Tensor) -> None:
        """Learn from the leads of a stored forecast whose truth is known and was not learned from.

        Args:
            name: Name of the stored forecast; names sort by reference time.
            bounds: Bounds as stored, (level, 2, target, leads, lat, lon), in the units of the model.
            truth: (target, leads, lat, lon); NaN where it is not known.
        """
        leads = [lead for lead in range(self._leads) if name > self._learned[lead]]
        leads = [lead for lead in leads if bool(truth[:, lead].isfinite().any())]
        if not leads:
            return
        issued = self._issued.get(name)
        then = self._bands.widening if issued is None else torch.tensor(issued).view_as(self._bands.widening)
        now = widened(as_calibrated(bounds, then, self._bands.lowest), self.widening, self._bands.lowest)
        outside = outside_shares(now[:, :, None], truth[None])[:, 0].numpy()
        unknown = [lead for lead in range(self._leads) if lead not in leads]
        outside[..., unknown] = np.nan
        self._adaptation.learn(outside)
        for lead in leads:
            self._learned[lead] = name
        self._write()

    def _write(self) -> None:
        oldest = min(self._learned)
        self._issued = {name: w for name, w in self._issued.items() if name > oldest}
        kept = {
            "widening": self._adaptation.widening.ravel().tolist(),
            "learned": self._learned,
            "issued": self._issued,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(kept).encode())


def adapted(fields: np.ndarray, bands: Bands, widening: Tensor) -> np.ndarray:
    """Give a forecast of the server's own data the bands of the present widening.

    Args:
        fields: As from `Forecaster.fields`, float32, (1 + bounds, target, lead, lat, lon).
        bands: Bands of the bundle, which the forecast was made with.
        widening: See `Bands.widening`.
    """
    if torch.equal(widening, bands.widening):
        return fields
    bounds = torch.from_numpy(fields[1:]).unflatten(0, (len(widening), 2))
    moved = widened(as_calibrated(bounds, bands.widening, bands.lowest), widening, bands.lowest)
    return np.concatenate([fields[:1], moved.flatten(0, 1).numpy()])
