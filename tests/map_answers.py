"""Made answers of a server to the map page: any grid, without a model, a file or a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from playwright.sync_api import Route

from service.routes.pages import FILES, POLICY

ADDRESS = "http://map.invalid/"
LEADS, HOURS = 4, 6
REFERENCE = np.datetime64("2026-11-26T18:00")
STORED = ["20261124T180000Z.abc", "20261125T180000Z.abc", "20261126T180000Z.abc"]
RMSE, PERSISTENCE = [0.8, 1.2, 1.5, 1.8], [1.5, 2.4, 2.8, 3.1]
VARIABLES = {
    "t2m": ("temperature", "K"),
    "w10": ("wind speed at 10 m", "m s-1"),
    "msl": ("sea level pressure", "Pa"),
}
PAGES = {"": "map.html", "docs": "docs.html"}


@dataclass(frozen=True)
class Made:
    """A grid with fields.

    Attributes:
        y: Latitudes or rows.
        x: Longitudes or columns.
        names: Variables among `VARIABLES`.
        known: Number of leads with observed values.
        missing: True where values are missing, (y, x).
        geographic: The axes are latitude and longitude.
    """

    y: np.ndarray
    x: np.ndarray
    names: tuple[str, ...] = ("t2m", "w10", "msl")
    known: int = 2
    missing: np.ndarray | None = None
    geographic: bool = True

    def values(self, name: str, observed: bool = False) -> np.ndarray:
        """Values (lead, y, x) that vary smoothly in space and time, NaN where missing or not known."""
        lead = np.arange(LEADS)[:, None, None]
        along, across = np.radians(self.y)[:, None], np.radians(self.x)
        found = {
            "t2m": 288 - 28 * np.abs(along) + 6 * np.sin(3 * across + 0.3 * lead),
            "w10": 6 + 4 * np.cos(4 * along + 2 * across + lead),
            "msl": 101300 + 900 * np.sin(2 * (across + along) + lead),
        }[name]
        if observed:
            found = np.where(lead < self.known, found + 0.02 * found.std() * np.cos(40 * along), np.nan)
        return found if self.missing is None else np.where(self.missing, np.nan, found)

    def coverage(self, observed: bool = False) -> str:
        """The fields as CoverageJSON; the forecast of temperature has bands of 1.5 and 3 K."""
        fields, parameters = {}, {}
        for name in self.names:
            values = self.values(name, observed)
            fields[name] = values
            if name == "t2m" and not observed:
                for level, width in ((80, 1.5), (95, 3.0)):
                    fields[f"t2m_lower_{level}"], fields[f"t2m_upper_{level}"] = (
                        values - width,
                        values + width,
                    )
        for name in fields:
            label, units = VARIABLES[name.split("_")[0]]
            parameters[name] = {
                "observedProperty": {"label": {"en": label}},
                "unit": {"symbol": {"value": units}},
            }
        axes = {"x": {"values": self.x.tolist()}, "y": {"values": self.y.tolist()}, "t": {"values": times()}}
        system = {"type": "GeographicCRS" if self.geographic else "ProjectedCRS"}
        return json.dumps(
            {
                "domain": {"axes": axes, "referencing": [{"coordinates": ["x", "y"], "system": system}]},
                "parameters": parameters,
                "ranges": {name: {"values": listed(values)} for name, values in fields.items()},
                "stconv:reference_time": f"{REFERENCE}:00Z",
                "stconv:model_name": "air",
                "stconv:model_version": "a1b2c3",
            }
        )


def times() -> list[str]:
    """Valid times, ISO 8601."""
    return [f"{REFERENCE + np.timedelta64(HOURS * (i + 1), 'h')}:00Z" for i in range(LEADS)]


def listed(values: np.ndarray) -> list[float | None]:
    """Values as JSON has them."""
    return [None if np.isnan(value) else float(value) for value in values.ravel()]


def grids() -> dict[str, Made]:
    """A region, the globe, a region over the date line, a sea between shores, an island, and pixels."""
    y, x = np.linspace(30, 46, 33), np.linspace(-6, 36, 43)
    lat, lon = np.linspace(50, 40, 11), np.linspace(0, 12, 13)
    shore = np.sin(np.radians(9 * y))[:, None] * np.cos(np.radians(7 * x)) > 0.3
    return {
        "region": Made(np.linspace(60, 36, 33), np.linspace(-12, 28, 41)),
        "globe": Made(np.linspace(90, -90, 37), np.arange(0, 360, 5.0)),
        "date line": Made(np.linspace(-50, -30, 21), np.linspace(160, 190, 31)),
        "sea": Made(y, x, names=("t2m",), missing=shore),
        "island": Made(
            lat, lon, names=("t2m",), missing=(abs(lat - 45) < 1.5)[:, None] & (abs(lon - 6) < 2.5)
        ),
        "pixels": Made(np.arange(20.0), np.arange(30.0), geographic=False, names=("t2m",)),
    }


def answering(made: Made, **others: Callable[[Route], None]) -> Callable[[Route], None]:
    """Answers to every request of the page; `others` answer paths that end with their name instead."""
    listing = [{"id": name, "name": name, "reference_time": reference(name)} for name in STORED]
    described = {
        "data_source": True,
        "input": {
            "variables": [{"name": name, "units": VARIABLES[name][1]} for name in made.names],
            "grid": {"dims": ["y", "x"], "y": {"size": made.y.size}, "x": {"size": made.x.size}},
            "frames": {"span": 3},
            "step": {"kind": "fixed", "seconds": 3600 * HOURS, "label": f"{HOURS} h"},
            "leads": LEADS,
            "calendar": "standard",
        },
    }
    scores = {
        "units": "K",
        "cases": [12] * LEADS,
        "rmse": {"model": RMSE, "persistence": PERSISTENCE},
        "skill": {"persistence": [0.4, 0.45, 0.5, 0.3]},
    }
    quality = {
        "cases": 12,
        "leads": [1, 2, 3, 4],
        "lead_labels": ["6 h", "12 h", "18 h", "24 h"],
        "first_reference_time": "2026-11-01T00:00:00Z",
        "last_reference_time": "2026-11-24T00:00:00Z",
        "below": [],
        "variables": {"t2m": scores},
    }
    documents = {
        "v1/models": {"models": [{"name": "air"}]},
        "v1/models/air": described,
        "v1/forecasts": {"forecasts": listing, "newest_frame": f"{REFERENCE}:00Z"},
        "v1/verification": quality,
        "openapi.json": {"info": {"title": "made", "version": "1", "description": "made"}, "paths": {}},
    }
    fields = {False: made.coverage(), True: made.coverage(observed=True)}

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS).split("?")[0].split("#")[0]
        for ending, other in others.items():
            if path.endswith(ending):
                return other(route)
        if path in PAGES or path.startswith("static/"):
            body, media_type = FILES[PAGES.get(path, path.removeprefix("static/"))]
            policy = {"Content-Security-Policy": POLICY}
            return route.fulfill(body=body, content_type=f"{media_type}; charset=utf-8", headers=policy)
        if path in documents:
            return route.fulfill(json=documents[path])
        if path.startswith("v1/forecasts/"):
            return route.fulfill(body=fields[path.endswith("/truth")], content_type="application/json")
        return route.fulfill(status=404, json={"detail": f"nothing at {path}"})

    return answer


def reference(name: str) -> str:
    """The reference time of a stored forecast, ISO 8601."""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:00:00Z"


def static(name: str) -> str:
    """The text of a file of the page."""
    return files("service").joinpath("static", name).read_text(encoding="utf-8")
