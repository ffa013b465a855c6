"""Makes the coastlines and borders of the map page from world-atlas (Natural Earth, public domain).

    npm pack world-atlas@2.0.2
    python tools/map/make_world.py world-atlas-2.0.2.tgz service/static

Each line is simplified by the area of triangles (Visvalingam and Whyatt 1993, The Cartographic Journal 30,
46-51), and written as text by the encoded polyline algorithm: differences of latitude and longitude, five
bits a character.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

PACKAGE = "world-atlas 2.0.2"
SHA256 = "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97"
SIZES = {"coarse": ("110m", 0.03, 100), "fine": ("10m", 0.0026, 1000)}
"""Scale of Natural Earth, smallest triangle in square degrees, and steps per degree of the written file."""

Point = tuple[float, float]
"""Longitude and latitude in degrees."""


def main(package: Path, folder: Path) -> None:
    """Write world-coarse.json and world-fine.json into a folder."""
    if hashlib.sha256(package.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{package} is not {PACKAGE}: its SHA-256 is not {SHA256}.")
    with tarfile.open(package) as archive:
        for size, (scale, least, steps) in SIZES.items():
            file = archive.extractfile(f"package/countries-{scale}.json")
            assert file is not None
            made = {
                "source": f"Natural Earth 1:{scale}, public domain, from the npm package {PACKAGE}",
                "steps": steps,
                **world(json.load(file), least, steps),
            }
            path = folder / f"world-{size}.json"
            path.write_text(json.dumps(made, separators=(",", ":")) + "\n")
            print(path, path.stat().st_size, "bytes")


def world(topology: dict, least: float, steps: int) -> dict[str, list[str]]:
    """Lines of a TopoJSON: an arc of one country is a coast, an arc of two is a border."""
    owners = Counter(
        index
        for country in topology["objects"]["countries"]["geometries"]
        for index in {i if i >= 0 else ~i for i in numbers(country["arcs"])}
    )
    found: dict[str, list[str]] = {"coast": [], "border": []}
    for index, arc in enumerate(topology["arcs"]):
        kind = "border" if owners[index] > 1 else "coast"
        for line in without_frame(decoded(arc, topology["transform"])):
            kept = simplified(line, least)
            if len(kept) > 1:
                found[kind].append(encoded(kept, steps))
    return found


def numbers(arcs: list | int) -> Iterator[int]:
    """Every number of nested lists."""
    if isinstance(arcs, int):
        yield arcs
    else:
        for inner in arcs:
            yield from numbers(inner)


def decoded(arc: list[list[int]], transform: dict) -> list[Point]:
    """Points of an arc of integer differences; across the date line the longitude goes on beyond 180."""
    (east, north), (right, up) = transform["scale"], transform["translate"]
    x = y = 0
    found: list[Point] = []
    for across, along in arc:
        x, y = x + across, y + along
        longitude = x * east + right
        if found:
            longitude += 360 * round((found[-1][0] - longitude) / 360)
        found.append((longitude, y * north + up))
    return found


def without_frame(line: list[Point]) -> Iterator[list[Point]]:
    """Pieces of a line without the edges of the world map, which are no coasts: date line and South Pole."""

    def on_edge(a: Point, b: Point) -> bool:
        return (abs(a[0]) > 179.99 and abs(b[0]) > 179.99) or max(a[1], b[1]) < -89.5

    piece = line[:1]
    for before, point in pairwise(line):
        if on_edge(before, point):
            yield piece
            piece = []
        piece.append(point)
    yield piece


def simplified(line: list[Point], least: float) -> list[Point]:
    """The line without points whose triangle with their neighbors is small, or nothing of a small island."""
    if len(line) < 3:
        return line
    closed = line[0] == line[-1]
    if closed and extent(line) < 4 * least:
        return []
    before, after = list(range(-1, len(line) - 1)), list(range(1, len(line) + 1))

    def area(i: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = line[before[i]], line[i], line[after[i]]
        return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2 * shrunk(by)

    areas = {i: area(i) for i in range(1, len(line) - 1)}
    queue = [(size, i) for i, size in areas.items()]
    heapq.heapify(queue)
    while queue and len(areas) > (2 if closed else 0):
        size, i = heapq.heappop(queue)
        if areas.get(i) != size:
            continue  # removed, or measured again since
        if size >= least:
            break
        del areas[i]
        after[before[i]], before[after[i]] = after[i], before[i]
        for near in (before[i], after[i]):
            if near in areas:
                areas[near] = max(area(near), size)
                heapq.heappush(queue, (areas[near], near))
    return [line[0], *(line[i] for i in sorted(areas)), line[-1]]


def shrunk(latitude: float) -> float:
    """The width of a degree of longitude as a share of that at the equator."""
    return max(math.cos(math.radians(latitude)), 0.1)


def extent(line: list[Point]) -> float:
    """The area of the box around a line, in square degrees of the equator."""
    longitudes, latitudes = zip(*line, strict=True)
    return (max(longitudes) - min(longitudes)) * (max(latitudes) - min(latitudes)) * shrunk(latitudes[0])


def encoded(line: list[Point], steps: int) -> str:
    """The line as text by the encoded polyline algorithm, latitude first."""
    written, last = [], (0, 0)
    for longitude, latitude in line:
        point = (round(latitude * steps), round(longitude * steps))
        if point == last and written:
            continue
        for value, former in zip(point, last, strict=True):
            difference = value - former
            bits = ~(difference << 1) if difference < 0 else difference << 1
            while bits >= 0x20:
                written.append(chr((0x20 | (bits & 0x1F)) + 63))
                bits >>= 5
            written.append(chr(bits + 63))
        last = point
    return "".join(written)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
