"""The map page on made grids, in a real Chromium: what it draws, finds, says, keeps and gives away."""

import csv
import io
import json
import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib.image
import numpy as np
import pint
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from map_answers import ADDRESS, PERSISTENCE, RMSE, STORED, answering, grids, static, times
from page_visit import Visit, needs_chromium

pytestmark = needs_chromium
GRIDS = grids()
SIZE = {"width": 1040, "height": 660}
"""As small as a window can be that shows everything at once: fewer pixels to draw."""


class Map(Visit):
    """The map page, opened on a grid; it is opened again only where a test asks for it."""

    def open(self, name, after="", **others):
        self.page.unroute_all()
        self.page.route("**/*", answering(GRIDS[name], **others))
        self.page.goto("about:blank")
        self.said.clear()
        self.page.goto(f"{ADDRESS}{after}")

    def show(self, name, after="", **others):
        self.open(name, after, **others)
        expect(self.page.locator("#view")).to_be_visible()
        self.until("import('/static/state.js').then(({ state }) => state.places !== null)")
        return self

    def state(self, expression):
        return self.run(f"import('/static/state.js').then(({{ state, center }}) => {expression})")

    def column(self, table, index):
        rows = f"[...document.querySelectorAll('#{table} tr')].slice(1)"
        return self.run(f"{rows}.map((row) => row.cells[{index}].textContent)")

    def find(self, text):
        self.page.fill("#wanted", text)
        self.page.press("#wanted", "Enter")


@pytest.fixture(scope="module")
def opened(browser):
    context = browser.new_context(viewport=SIZE, timezone_id="America/New_York", reduced_motion="reduce")
    yield Map(context.new_page())
    context.close()


@pytest.fixture
def region(opened):
    return opened.show("region")


def test_field_has_the_colors_of_its_values(opened):
    """Cell by cell: that of the value. Smoothly: that of a bilinear interpolation in NumPy."""
    opened.show("pixels")
    found = opened.run(
        """(async () => {
          const { paintField } = await import('/static/field.js');
          const { palette } = await import('/static/colors.js');
          const { state } = await import('/static/state.js');
          const { view, grid, limits } = state;
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [view.width, view.height];
          const context = canvas.getContext('2d');
          return [true, false].map((smooth) => {
            context.clearRect(0, 0, view.width, view.height);
            paintField(context, view, grid.field('t2m', 0), limits, smooth, 1);
            const bytes = context.getImageData(0, 0, view.width, view.height).data;
            return [[5.3, 7.2], [12.9, 11.6], [24.2, 3.4], [-0.4, 19.4], [-0.9, 5]].map(([x, y]) => {
              const at = 4 * (Math.floor(view.py(y)) * view.width + Math.floor(view.px(x)));
              const pixel = new Uint32Array(bytes.slice(at, at + 4).buffer)[0];
              const column = (Math.floor(view.px(x)) + 0.5);
              const row = (Math.floor(view.py(y)) + 0.5);
              return [palette.indexOf(pixel), view.x(column), view.y(row)];
            });
          });
        })()"""
    )
    values = GRIDS["pixels"].values("t2m")
    low, high = values.min(), values.max()  # the observed fields lie within
    known = GRIDS["pixels"].values("t2m", observed=True)
    low, high = min(low, np.nanmin(known)), max(high, np.nanmax(known))
    for smooth, points in zip((True, False), found, strict=True):
        for level, x, y in points[:-1]:
            if smooth:
                fx, fy = np.clip(x, 0, 29), np.clip(y, 0, 19)
                i, j = min(int(fx), 28), min(int(fy), 18)
                box = values[0, j : j + 2, i : i + 2]
                wx, wy = np.array([1 - (fx - i), fx - i]), np.array([1 - (fy - j), fy - j])
                value = wy @ box @ wx
            else:
                value = values[0, round(y), round(x)]
            assert level == pytest.approx(255 * (value - low) / (high - low), abs=1)
        assert points[-1][0] == -1, "nothing is painted outside of the grid"


def test_moved_and_zoomed_by_mouse_keys_and_buttons(region):
    box = region.page.locator("#map").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    whole = region.state("[...state.view.center, state.view.transform.k]")
    region.page.mouse.move(*middle)
    region.page.mouse.wheel(0, -400)
    region.until("import('/static/state.js').then(({ state }) => state.view.transform.k > 1.5)")
    before, scale = region.state("state.view.center"), region.state("state.view.px(1) - state.view.px(0)")
    region.page.mouse.down()
    region.page.mouse.move(middle[0] - 60, middle[1])
    region.page.mouse.up()
    assert region.state("state.view.center[0]") == pytest.approx(before[0] + 60 / scale, abs=1e-6)
    assert region.run("document.getElementById('map').__zoom.x === document.getElementById('truth').__zoom.x")
    region.page.click("#whole")
    assert region.state("[...state.view.center, state.view.transform.k]") == pytest.approx(whole)
    region.page.click("#zoom-in")
    assert region.state("state.view.transform.k") == pytest.approx(1.6)
    region.page.focus("#map")
    region.page.keyboard.press("-")
    region.page.keyboard.press("Shift+ArrowRight")
    assert region.state("state.view.center[0]") > whole[0]
    assert region.state("center()") == {"x": 8, "y": 48}, "the place stays"
    region.page.keyboard.press("0")
    assert region.state("state.view.center") == pytest.approx(whole[:2])
    assert not region.said


def test_places_are_found_by_name_and_coordinates(region):
    region.page.type("#wanted", "Mun")
    region.until(
        "[...document.querySelectorAll('#places option')].some((o) => o.value === 'Munich, Germany')"
    )
    for text, place in {
        "munich": (48.0, 12.0),
        "malaga": (36.75, -4.0),
        "London, United": (51.75, 0.0),
        "45.1, 7.6": (45.0, 8.0),
        "52°30'N 13°24'E": (52.5, 13.0),
        "13.4 E 52.5 N": (52.5, 13.0),
        "52,5 -9,6": (52.5, -10.0),
        "Germany": (51.0, 10.0),
    }.items():
        region.find(text)
        region.until(f"import('/static/state.js').then(({{ center }}) => center().y === {place[0]})")
        assert region.state("center()") == {"x": place[1], "y": place[0]}, text
    assert region.state("state.view.transform.k") == pytest.approx(2)
    assert region.text("near").startswith(("near", "1", "2", "3", "4", "5", "6", "7", "8", "9"))
    region.find("Tokyo")
    region.until("document.getElementById('status').textContent.startsWith('Tokyo, Japan lies outside')")
    region.find("Entenhausen")
    region.until("document.getElementById('status').textContent.startsWith('No place “Entenhausen”')")
    assert region.state("center().y") == 51.0, "the place stays"


def test_units_agree_everywhere(region):
    """Degrees Fahrenheit: values have an offset, errors and widths of bands have none."""
    kelvin = GRIDS["region"].values("t2m")[:, 16, 20]
    region.choose("units", "°F")
    expected = pint.Quantity(kelvin, "kelvin").to("degF").magnitude
    assert list(map(float, region.column("values", 2))) == pytest.approx(expected, abs=0.06)
    low, high = (float(part) for part in region.column("values", 4)[0].split(" to "))
    assert high - low == pytest.approx(6 * 1.8, abs=0.2), "the band of 95 % is 6 K wide"
    assert f"{expected[0]:.1f} °F" in region.text("cell")
    assert f"{expected[0]:.1f} °F" in region.column("variables", 1)[0]
    assert region.text("legend-title") == "Temperature in °F"
    assert "°F, bright" in region.run("document.getElementById('legend').ariaLabel")
    for index, errors in ((1, RMSE), (3, PERSISTENCE)):
        said = [cell.split() for cell in region.column("quality-table", index)]
        assert [float(value) for value, _ in said] == pytest.approx([1.8 * e for e in errors], abs=0.06)
        assert {unit for _, unit in said} == {"°F"}
    heads = region.run("[...document.querySelectorAll('#values th')].map((cell) => cell.textContent)")
    assert all(head.endswith(", °F") for head in heads[2:])
    region.choose("variable", "w10")
    region.choose("units", "km/h")
    speed = 3.6 * GRIDS["region"].values("w10")[0, 16, 20]
    assert f"{speed:.1f} km/h" in region.text("cell")
    region.choose("variable", "t2m")
    assert region.run("document.getElementById('units').value") == "°F", "each kind of unit is remembered"


@pytest.mark.parametrize(
    ("units", "name", "label", "value", "shown", "difference"),
    [
        ("K", "temperature", "°C", 300.0, 26.85, 300.0),
        ("degC", "temperature", "K", 10.0, 283.15, 10.0),
        ("degree_Celsius", "temperature", "°F", 10.0, 50.0, 18.0),
        ("K", "temperature anomaly", "°F", 1.0, 1.8, 1.8),
        ("m s**-1", "wind", "kn", 10.0, 19.438, 19.438),
        ("meter / second", "wind", "km/h", 10.0, 36.0, 36.0),
        ("Pa", "pressure", "hPa", 101325.0, 1013.25, 1013.25),
        ("hPa", "pressure", "inHg", 1000.0, 29.53, 29.53),
        ("kg m-2 s-1", "rain", "mm/h", 0.001, 3.6, 3.6),
        ("1", "share", "", 0.5, 0.5, 0.5),
        ("ppb", "ozone", "ppb", 40.0, 40.0, 40.0),
    ],
)
def test_units_of_files(opened, units, name, label, value, shown, difference):
    if opened.page.url == "about:blank":
        opened.show("pixels")
    found = opened.run(
        f"""import('/static/units.js').then(({{ shownIn }}) => {{
          const unit = shownIn({json.dumps(units)}, [{json.dumps(label)}], {json.dumps(name)});
          return [unit.label, unit.value({value}), unit.difference({value}), unit.value(null)];
        }})"""
    )
    assert found == [label, pytest.approx(shown, rel=1e-4), pytest.approx(difference, rel=1e-4), None]


def test_local_time_beside_utc(region):
    """Of the place, and of the reader in New York, as the time-zone database of Python has it."""
    utc = datetime.fromisoformat(times()[0])
    for place, zone, name in (("Athens", "Europe/Athens", "Athens"), ("Lisbon", "Europe/Lisbon", "Lisbon")):
        region.find(place)
        region.until(f"document.getElementById('local').textContent.includes('in {name}')")
        assert f"{utc.astimezone(ZoneInfo(zone)):%a, %-d %b, %H:%M} in {name}" in region.text("local")
    assert "00:00 UTC" in region.text("title")
    assert "in Lisbon" in region.column("values", 1)[0]
    region.choose("clock", "own")
    own = utc.astimezone(ZoneInfo("America/New_York"))
    assert region.text("local").startswith(f"{own:%a, %-d %b, %H:%M} in your time zone")


def test_link_holds_the_state(region):
    region.choose("variable", "msl")
    region.choose("units", "inHg")
    region.choose("draw", "cells")
    region.choose("clock", "own")
    region.choose("reference", STORED[1])
    region.find("Rome")
    region.page.focus("#map")
    region.page.keyboard.press(".")
    region.until(f"location.hash.includes('{STORED[1]}') && location.hash.includes('ahead=2')")
    address, said = region.page.url, region.text("cell")
    assert "inHg" in said
    region.show("region", address.removeprefix(ADDRESS))
    region.until("document.getElementById('title').textContent.startsWith('Sea level pressure')")
    assert region.text("cell") == said
    region.until(f"location.hash === {json.dumps(address[len(ADDRESS) :])}")
    settings = "['reference', 'variable', 'units', 'draw', 'clock', 'lead']"
    found = region.run(f"{settings}.map((name) => document.getElementById(name).value)")
    assert found == [STORED[1], "msl", "inHg", "cells", "own", "1"]
    region.run(f"location.hash = {json.dumps(address.split('#')[1].replace('show=msl', 'show=w10'))}")
    region.until("document.getElementById('title').textContent.startsWith('Wind speed')")
    region.page.click("#copy")
    region.until("document.getElementById('link').value === location.href")


@pytest.mark.parametrize(
    "link",
    [
        "#forecast=20200101T000000Z.old&map=a,b,c&place=&ahead=99&show=no&units=,",
        pytest.param("#forecast=20200101T000000Z.old", marks=pytest.mark.slow),
    ],
)
def test_link_that_does_not_fit_shows_the_newest_forecast(opened, link):
    opened.show("region", link)
    assert opened.run("document.getElementById('reference').value") == STORED[2]
    assert not opened.said
    says = "not stored on this server any more"
    opened.until(f"document.getElementById('status').textContent.includes('{says}')")


def saved(visit, kind):
    with visit.page.expect_download() as download:
        visit.page.click(f"[data-file={kind}]")
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_what_is_seen_can_be_kept(region):
    values = GRIDS["region"].values("t2m")
    name, body = saved(region, "series")
    rows = list(csv.DictReader(body.decode().splitlines()))
    assert name == "t2m_20261127T0000_place.csv"
    assert [float(row["Temperature forecast (°C)"]) for row in rows] == pytest.approx(
        values[:, 16, 20] - 273.15, abs=1e-4
    )
    assert [row["time"][:16] for row in rows] == [time[:16] for time in times()]
    assert float(rows[0]["95 % band to (°C)"]) - float(rows[0]["95 % band from (°C)"]) == pytest.approx(
        6, abs=1e-4
    )
    assert rows[3]["Temperature observed (°C)"] == "", "not known yet"
    region.page.click("#zoom-in")
    region.page.click("#zoom-in")
    _, body = saved(region, "cells")
    rows = list(csv.DictReader(body.decode().splitlines()))
    west, east, south, north = region.state(
        "[state.view.x(0), state.view.x(state.view.width), state.view.y(state.view.height), state.view.y(0)]"
    )
    y, x = GRIDS["region"].y, GRIDS["region"].x
    seen = ((y > south) & (y < north))[:, None] & ((x > west) & (x < east))
    assert 0 < seen.sum() < values[0].size
    found = {
        (float(r["latitude"]), float(r["longitude"])): float(r["Temperature forecast (°C)"]) for r in rows
    }
    assert len(found) == seen.sum()
    assert found[48.0, 8.0] == pytest.approx(values[0, 16, 20] - 273.15, abs=1e-4)
    name, body = saved(region, "picture")
    assert name.endswith(".png")
    assert body.startswith(b"\x89PNG")
    asked = []

    def netcdf(route):
        asked.append(route.request.headers["accept"])
        route.fulfill(body=b"CDF", content_type="application/x-netcdf")

    region.page.route(f"**/v1/forecasts/{STORED[2]}*", netcdf)
    assert saved(region, "netcdf") == ("t2m_20261127T0000_forecast.nc", b"CDF")
    assert asked == ["application/x-netcdf"]


def test_globe_and_date_line(opened):
    """The globe goes on at its other side; a place is found under any count of its longitude."""
    opened.show("globe")
    opened.find("-20, 185")
    opened.until("document.getElementById('cell').textContent.startsWith('20° S, 175° W')")
    opened.page.focus("#map")
    opened.page.keyboard.press("ArrowLeft")
    assert opened.text("cell").startswith("20° S, 180°")
    opened.find("0, -2")
    opened.until("document.getElementById('cell').textContent.startsWith('0°, 0°')")
    opened.page.keyboard.press("Tab")
    opened.page.focus("#map")
    opened.page.keyboard.press("ArrowLeft")
    assert opened.text("cell").startswith("0°, 5° W")
    opened.show("date line")
    opened.find("-40.2, -172.1")
    opened.until("document.getElementById('cell').textContent.startsWith('40° S, 172° W')")
    value = GRIDS["date line"].values("t2m")[0, 10, 28] - 273.15
    assert f"{value:.1f} °C" in opened.text("cell")


def test_it_opens_at_the_cell_with_a_value_that_is_nearest_to_the_middle(opened):
    opened.show("island")
    assert opened.text("cell").startswith("43° N, 6° E")
    assert "no value" not in opened.text("cell")


def test_grid_without_geography(opened):
    opened.show("pixels")
    assert opened.text("cell").startswith("y 10, x 15")
    assert opened.text("near") == ""
    opened.find("3, 17")
    opened.until("document.getElementById('cell').textContent.startsWith('y 17, x 3')")
    opened.find("Berlin")
    opened.until("document.getElementById('status').textContent.includes('Write x and y')")
    assert not any("world" in url for url in opened.asked[-40:]), "no coastlines are fetched"


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("globe", 360),
        pytest.param("region", 1280, marks=pytest.mark.slow),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in (("region", 360), ("globe", 1280))),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in (("pixels", 360), ("pixels", 1280))),
    ],
)
def test_no_label_is_cut(opened, name, width):
    """Every text of every canvas lies within it."""
    opened.page.set_viewport_size({"width": width, "height": 800})
    opened.show(name)
    cut = opened.run(
        """(async () => {
          const { drawAll } = await import('/static/screen.js');
          const { state } = await import('/static/state.js');
          const { zoomBy } = await import('/static/moving.js');
          const texts = [];
          const plain = CanvasRenderingContext2D.prototype.fillText;
          CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
            const size = this.measureText(text);
            const { a: scale } = this.getTransform();
            const box = [x - size.actualBoundingBoxLeft, x + size.actualBoundingBoxRight,
              y - size.actualBoundingBoxAscent, y + size.actualBoundingBoxDescent];
            texts.push([text, this.canvas.id, box, this.canvas.width / scale, this.canvas.height / scale]);
            return plain.call(this, text, x, y, ...rest);
          };
          for (const zoom of [1, 3, 0.1]) {
            zoomBy(zoom);
            for (const variable of state.grid.names) {
              state.name = variable;
              drawAll();
            }
          }
          CanvasRenderingContext2D.prototype.fillText = plain;
          return [texts.length, texts.filter(([, , [left, right, top, bottom], width, height]) =>
            left < -1 || right > width + 1 || top < -1 || bottom > height + 1)];
        })()"""
    )
    opened.page.set_viewport_size(SIZE)
    assert cut[0] > 20
    assert cut[1] == []


@pytest.mark.parametrize(
    ("scheme", "path", "width"),
    [
        ("light", "", 1280),
        pytest.param("light", "", 360, marks=pytest.mark.slow),
        pytest.param("dark", "", 1280, marks=pytest.mark.slow),
        pytest.param("dark", "", 360, marks=pytest.mark.slow),
        pytest.param("dark", "docs", 360, marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(opened, scheme, path, width):
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.set_viewport_size({"width": width, "height": 800})
    if path:
        opened.open("region", path)
        opened.until("document.getElementById('about').textContent !== ''")
    else:
        opened.show("region")
        opened.page.click("#series-pane summary")
        opened.page.click("#copy")
    found = Axe().run(opened.page)
    wide = opened.run("document.documentElement.scrollWidth")
    opened.page.emulate_media(color_scheme="light")
    opened.page.set_viewport_size(SIZE)
    assert found.response["violations"] == [], found.generate_report()
    assert wide <= width
    assert not opened.said


def blocks(png, size=16):
    """Means of blocks of pixels, 0 to 1: what is left of a letter hardly depends on its font."""
    pixels = matplotlib.image.imread(io.BytesIO(png))[..., :3]
    high, wide = (length // size for length in pixels.shape[:2])
    return pixels[: high * size, : wide * size].reshape(high, size, wide, size, 3).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("name", "scheme", "link"),
    [
        ("region", "light", ""),
        pytest.param("globe", "dark", "", marks=pytest.mark.slow),
        pytest.param("date line", "light", "#draw=cells", marks=pytest.mark.slow),
        pytest.param("sea", "light", "#map=38,15,2", marks=pytest.mark.slow),
        pytest.param("pixels", "dark", "#draw=cells", marks=pytest.mark.slow),
    ],
)
def test_map_looks_as_it_did(opened, name, scheme, link):
    """The map at a fixed size against a small picture of it; its text counts little, its layout not at all.

    `STCONV_NEW_PICTURES=1` draws the pictures anew: look at the page before.
    """
    opened.page.emulate_media(color_scheme=scheme)
    opened.show(name, link)
    opened.run(
        """(async () => {
          const fixed = (element, width, height) => (
            Object.assign(element.style, { flex: 'none', width: `${width}px`, height: `${height}px` }));
          document.getElementById('truth-pane').hidden = true;
          fixed(document.getElementById('maps'), 660, 420);
          fixed(document.querySelector('.stage'), 640, 384);
          const { state } = await import('/static/state.js');
          state.truth = null;
          (await import('/static/screen.js')).drawAll();
        })()"""
    )
    stage = opened.page.locator("#map")
    size = "fine" if name != "globe" else "coarse"
    if GRIDS[name].geographic:
        opened.until(f"import('/static/basemap.js').then(({{ isLoaded }}) => isLoaded('{size}'))")
    opened.run("import('/static/screen.js').then(({ drawMaps }) => drawMaps())")
    found = blocks(stage.screenshot())
    opened.page.emulate_media(color_scheme="light")
    path = Path(__file__).parent / "pictures" / f"map_{name.replace(' ', '_')}.png"
    if os.environ.get("STCONV_NEW_PICTURES"):
        matplotlib.image.imsave(path, found)
    kept = matplotlib.image.imread(path)[..., :3]
    difference = np.abs(found - kept).mean(axis=-1)
    assert difference.mean() < 0.02
    assert np.quantile(difference, 0.97) < 0.15


@pytest.mark.slow
def test_messages_are_for_people(opened):
    opened.show("region")
    for answer, says in {
        "away": "The server does not answer. Check your connection",
        "busy": "The server is busy at the moment. Try again in 7 seconds.",
        "closed": "This server asks for an API key.",
        "broken": "The server could not do this (error 500).",
    }.items():

        def failing(route, _, answer=answer):
            if answer == "away":
                return route.abort()
            status = {"busy": 503, "closed": 401, "broken": 500}[answer]
            headers = {"Retry-After": "7"} if answer == "busy" else {}
            return route.fulfill(status=status, body="{}", headers=headers)

        opened.page.route(f"**/v1/forecasts/{STORED[0]}*", failing)
        opened.page.select_option("#reference", STORED[1])
        opened.page.select_option("#reference", STORED[0])
        opened.until(f"document.getElementById('status').textContent.startsWith({json.dumps(says)})")
        opened.page.unroute(f"**/v1/forecasts/{STORED[0]}*", failing)
    assert opened.run("document.activeElement.id") == "key" or not opened.run(
        "document.getElementById('key-label').hidden"
    )


def test_geography_is_small_and_right():
    """Coasts pass near capes whose positions are known; a border and a town of each continent are there."""
    sizes = {
        name: len(static(name).encode()) for name in ("world-coarse.json", "world-fine.json", "places.json")
    }
    assert sum(sizes.values()) <= 400_000, sizes
    fine = json.loads(static("world-fine.json"))
    coast, border = (
        np.concatenate([line(text, fine["steps"]) for text in fine[kind]]) for kind in ("coast", "border")
    )
    capes = {
        "Land's End": (50.07, -5.71),
        "Cape Agulhas": (-34.83, 20.0),
        "Cape Horn": (-55.98, -67.27),
        "North Cape": (71.17, 25.78),
        "Cape York": (-10.69, 142.53),
        "Gibraltar": (36.11, -5.35),
    }
    for name, cape in capes.items():
        assert np.hypot(*((coast - cape) * [1, np.cos(np.radians(cape[0]))]).T).min() < 0.12, name
    assert np.hypot(*(border - [47.59, 7.59]).T).min() < 0.1, "Basel, where three countries meet"
    assert np.abs(coast[:, 0]).max() < 90
    assert np.abs(np.diff(coast[:, 1])).max() < 720
    found = {place[0]: place[1:3] for place in json.loads(static("places.json"))["places"][::-1]}
    for name, where in {"Paris": (48.85, 2.35), "Lima": (-12.05, -77.04), "Sydney": (-33.87, 151.21)}.items():
        assert found[name] == pytest.approx(where, abs=0.1)


def line(text, steps):
    """Latitude and longitude of a line, decoded by the published rule of encoded polylines."""
    values, value, shift = [], 0, 0
    for letter in text:
        bits = ord(letter) - 63
        value |= (bits & 31) << shift
        shift += 5
        if bits < 32:
            values.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    return np.cumsum(np.array(values).reshape(-1, 2), axis=0) / steps


def test_notice_names_what_the_scripts_read():
    notice = static("NOTICE.txt")
    tools = Path(__file__).resolve().parents[1] / "tools" / "map"
    for name in ("make_world.py", "make_places.py", "bundle_d3.sh"):
        assert f"tools/map/{name}" in notice
    for text in ("d3-zoom@3.0.1", "d3-selection@3.0.1"):
        assert text in (tools / "bundle_d3.sh").read_text()
        assert text.replace("@", " ") in notice
    for found in (tools / "make_places.py").read_text().split('"'):
        if len(found) == 64:
            assert found in notice
