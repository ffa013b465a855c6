"""The pages in a real Chromium, driven over its debugging pipe; without Chromium the tests are skipped."""

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


class Page:
    """One page of a headless browser: the DevTools protocol, messages ended by a zero byte."""

    def __init__(self, folder):
        to_browser, self.write = os.pipe()
        self.read, from_browser = os.pipe()

        def wire():
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        # Pipes above 4, so that neither is overwritten before it is copied.
        assert min(to_browser, from_browser) > 4
        self.process = subprocess.Popen(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={folder}"),
                "about:blank",
            ],
            preexec_fn=wire,  # noqa: PLW1509 - it only copies two descriptors
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.pending, self.number, self.said, self.asked = b"", 0, [], []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.pending:
                more = os.read(self.read, 1 << 16)
                assert more, "the browser ended"
                self.pending += more
            text, _, self.pending = self.pending.partition(b"\0")
            answer = json.loads(text)
            event, facts = answer.get("method"), answer.get("params", {})
            if event == "Runtime.exceptionThrown" or facts.get("entry", {}).get("level") == "error":
                self.said.append(facts)
            if answer.get("method") == "Network.requestWillBeSent":
                self.asked.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression, seconds=40):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if found := self.run(expression):
                    return found
            time.sleep(0.1)
        raise AssertionError(f"never: {expression}; {self.run('document.body.innerText')}; {self.said}")

    def open(self, url, width=1280, height=900):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.said.clear()
        self.asked.clear()
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def press(self, key, code=None):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def pixels(self):
        picture = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return matplotlib.image.imread(io.BytesIO(picture))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.write)
        os.close(self.read)


@pytest.fixture(scope="module")
def browser():
    folder = tempfile.mkdtemp(prefix="chromium-")
    page = Page(folder)
    yield page
    page.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shown(browser, service):
    """The map page with its first forecast."""
    browser.open(f"{service.url}/")
    browser.until("!document.getElementById('view').hidden")
    return browser


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


@needs_chromium
def test_newest_forecast_is_shown_at_once(shown, service):
    assert text(shown, "title") == "Temperature on Sat, 11 Jan 2020, 00:00 UTC"
    assert text(shown, "times").startswith(
        "Forecast for 6 hours ahead, made from what was known on Fri, 10 Jan"
    )
    assert "Made by the model air" in text(shown, "origin")
    assert "t2m (K)" in text(shown, "needs")
    assert "8 \u00d7 10" in text(shown, "needs")
    assert len(np.unique(shown.pixels().reshape(-1, 3 + (shown.pixels().shape[2] == 4)), axis=0)) > 60
    assert not shown.said, "nothing was blocked by the policy, nothing thrown"
    assert all(url.startswith((service.url, "data:")) for url in shown.asked), shown.asked


@needs_chromium
def test_cell_and_series_are_those_of_the_point_route(shown, service):
    with service.client() as client:
        asked = {"latitude": 44, "longitude": 4}
        expected = client.get("/v1/forecast", params=asked).json()["hourly"]["t2m"]
    box = shown.run("(r => [r.left, r.top])(document.getElementById('map').getBoundingClientRect())")
    where = shown.run(
        """(async () => {
          const { geometry } = await import('/static/drawing.js');
          const x = [350, 352, 354, 356, 358, 0, 2, 4, 6, 8];
          const y = [50, 48, 46, 44, 42, 40, 38, 36];
          const place = geometry({ x, y, geographic: true }, document.getElementById('map').clientWidth);
          return [place.px(364), place.py(44)];
        })()"""
    )
    shown.click(box[0] + where[0], box[1] + where[1])
    cells = shown.until("document.getElementById('cell').textContent.startsWith('44° N, 4° E') || ''")
    assert cells
    column = "[...document.querySelectorAll('#values tr')].slice(1).map(r => Number(r.cells[2].textContent))"
    assert shown.run(column) == pytest.approx([value - 273.15 for value in expected], abs=0.1), (
        "degrees Celsius"
    )
    choose(shown, "units", "K")
    assert shown.run(column) == pytest.approx(expected, abs=0.1)


def choose(page, name, value):
    page.run(
        f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change')); }})"
        f"(document.getElementById('{name}'))"
    )


@pytest.fixture
def listed(shown):
    """The map page once past forecasts are there to choose from."""
    shown.until("document.querySelectorAll('#reference option').length > 10", 90)
    return shown


@needs_chromium
def test_an_older_forecast_beside_what_was_observed(listed, service_server):
    """2020-01-09 12:00 is frame 34 of the file: both of its leads are known."""
    choose(listed, "reference", "20200109T120000Z")
    listed.until("document.getElementById('title').textContent.includes('Thu, 9 Jan 2020, 18:00')")
    listed.until("!document.getElementById('truth-pane').hidden")
    listed.until("document.getElementById('cell').textContent.includes('observed')")
    observed = listed.run(
        "[...document.querySelectorAll('#values tr')].slice(1).map(r => Number(r.cells[3].textContent))"
    )
    cell = listed.run("document.getElementById('cell').textContent")
    north, east = (float(part.split("°")[0]) for part in cell.split(":")[0].split(","))
    east = -east if " W" in cell.split(":")[0] else east
    truth = service_server.fields()["t2m"].sel(latitude=north, longitude=east % 360)[35:37] - 273.15
    assert observed == pytest.approx(truth.values, abs=0.1)
    assert text(listed, "truth-note") == ""


@needs_chromium
def test_older_and_newer_by_buttons_and_keys(listed):
    assert listed.run("document.getElementById('truth-pane').hidden"), "nothing is known yet"
    assert not listed.run("document.getElementById('future').hidden")
    newest = listed.run("document.getElementById('reference').value")
    assert newest == "20200110T180000Z"
    assert listed.run("document.getElementById('newer').disabled")
    listed.run("document.getElementById('older').click()")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 12:00')")
    assert text(listed, "truth-note") == ""
    listed.run("document.getElementById('map').focus()")
    listed.press(".")
    assert text(listed, "truth-note") == "(not known yet)"
    listed.press("[", "BracketLeft")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 06:00')")
    listed.press("]", "BracketRight")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 12:00')")


@needs_chromium
def test_quality_of_past_forecasts_is_said(listed, service):
    listed.until("!document.getElementById('quality').hidden", 60)
    with service.client() as client:
        found = client.get("/v1/verification").json()
    rows = listed.run("[...document.querySelectorAll('#quality-table tr')].map(r => r.innerText)")
    assert len(rows) == 3
    skill = round(100 * found["variables"]["t2m"]["skill"]["persistence"][0])
    assert f"{'−' if skill < 0 else '+'}{abs(skill)} %" in rows[1]  # noqa: RUF001
    assert f"{found['variables']['t2m']['rmse']['model'][0]:.1f}"[:3] in rows[1]
    assert bool(found["below"]) is not listed.run("document.getElementById('quality-warning').hidden")


@needs_chromium
def test_a_drop_in_quality_is_a_warning(shown):
    shown.run(
        """(async () => {
          const { showQuality } = await import('/static/quality.js');
          showQuality({ cases: 12, leads: [1, 2], lead_labels: ['6 h', '12 h'],
            first_reference_time: '2020-01-01T00:00:00Z', last_reference_time: '2020-01-05T00:00:00Z',
            below: [{ variable: 't2m', lead: 2, skill: -0.25 }],
            variables: { t2m: { units: 'K', cases: [12, 11], rmse: { model: [1, 5], persistence: [2, 4] },
              skill: { persistence: [0.5, -0.25] } } } }, 't2m');
        })()"""
    )
    assert text(shown, "quality-warning").startswith("Take care: the forecasts for 12 h ahead")
    assert shown.run("!document.getElementById('quality-warning').hidden")
    assert "−25 %" in text(shown, "quality-table")  # noqa: RUF001


@needs_chromium
def test_another_calendar_is_shown_with_its_own_days(shown, service_server, service_bundle):
    """CoverageJSON has no 30 February; the page reads the service's own JSON, in any order of dimensions."""
    from service.formats.answers import to_json
    from stconv.forecast import Forecaster

    forecast = Forecaster.from_path(service_bundle).forecast(service_server.fields())
    dates = xr.date_range("2001-02-30T18", periods=3, freq="6h", calendar="360_day", use_cftime=True)
    forecast = forecast.assign_coords(time=("lead", dates[1:], forecast["time"].attrs)).transpose(
        "longitude", ...
    )
    forecast["forecast_reference_time"] = ((), dates[0], forecast["forecast_reference_time"].attrs)
    found = shown.run(
        f"""(async () => {{
          const {{ readGrid }} = await import('/static/coverage.js');
          const {{ ahead, stamp }} = await import('/static/words.js');
          const grid = readGrid({to_json(forecast).decode()}, '360_day');
          return [grid.x.length, grid.y, grid.geographic, [grid.reference, ...grid.times].map(stamp),
            grid.times.map((time) => ahead(grid.reference, time)), grid.label('t2m'), grid.units('t2m'),
            grid.value('t2m', 1, 2, 7), grid.value('t2m', 0, 0, 0), grid.model];
        }})()"""
    )
    times = ["30 Feb 2001, 18:00 UTC", "1 Mar 2001, 00:00 UTC", "1 Mar 2001, 06:00 UTC"]
    expected = forecast["t2m"].transpose("lead", "latitude", "longitude").values
    assert found[:3] == [10, list(service_server.LAT), True]
    assert found[3:5] == [times, ["6 hours", "12 hours"]]
    assert found[5:7] == ["temperature", "K"]
    assert found[7] == pytest.approx(float(expected[1, 2, 7]), rel=1e-6)
    assert found[8:] == [None, "air"]


@needs_chromium
def test_times_are_said_as_exactly_as_the_step_is(shown):
    found = shown.run(
        """(async () => {
          const { clock } = await import('/static/words.js');
          const { moment } = await import('/static/moments.js');
          const steps = [{ kind: 'fixed', seconds: 21600 }, { kind: 'fixed', seconds: 86400 },
            { kind: 'month', seconds: 0 }, { kind: 'year', seconds: 0 }];
          return ['standard', '360_day'].flatMap((calendar) => steps.map((step) => {
            const { said, at, lines } = clock(step);
            const time = moment('2020-08-01T06:00:00', calendar);
            return [at, said(time), ...lines(time)].join('|');
          }));
        })()"""
    )
    assert found == [
        "on|Sat, 1 Aug 2020, 06:00 UTC|06:00|1 Aug",
        "on|Sat, 1 Aug 2020|1 Aug|2020",
        "in|Aug 2020|Aug|2020",
        "in|2020|2020|",
        "on|1 Aug 2020, 06:00 UTC|06:00|1 Aug",
        "on|1 Aug 2020|1 Aug|2020",
        "in|Aug 2020|Aug|2020",
        "in|2020|2020|",
    ]


@needs_chromium
def test_bands_are_shaded_and_no_variables_of_their_own(shown):
    found = shown.run(
        """(async () => {
          const { readGrid } = await import('/static/coverage.js');
          const { drawSeries } = await import('/static/series.js');
          const range = (value) => ({ values: [value, value] });
          const label = { observedProperty: { label: { en: 'temperature' } } };
          const grid = readGrid({
            domain: { axes: { x: { values: [0] }, y: { values: [0] },
              t: { values: ["2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"] } } },
            parameters: { t: label },
            ranges: { t: range(5), t_lower_80: range(4), t_upper_80: range(6), t_lower_95: range(2),
              t_upper_95: range(8), low_lower_80: range(1) },
          });
          const canvas = document.getElementById('series');
          const bands = grid.bands('t').map((level) => (
            { level, lower: [level === 80 ? 4 : 2, 4], upper: [level === 80 ? 6 : 8, 6] }));
          const times = [new Date(0), new Date(3.6e6)];
          drawSeries(canvas, { times, forecast: [5, 5], truth: null, bands, lead: 1, units: 'K',
            lines: () => ['', ''] });
          const scale = window.devicePixelRatio;
          const alpha = (y) => canvas.getContext('2d').getImageData(62 * scale, y * scale, 1, 1).data[3];
          return [grid.names, grid.bands('t'), alpha(30), alpha(70), alpha(105)];
        })()"""
    )
    names, levels, outside, wide, narrow = found
    assert names == ["t", "low_lower_80"]
    assert levels == [95, 80]
    assert outside < wide < narrow


@needs_chromium
def test_keyboard_moves_steps_and_plays(shown):
    shown.run("document.getElementById('map').focus()")
    before = text(shown, "cell")
    shown.press("ArrowUp")
    north = text(shown, "cell")
    assert float(north.split("°")[0]) == float(before.split("°")[0]) + 2, "up is north"
    shown.press("ArrowDown")
    shown.press("ArrowRight")
    assert text(shown, "cell").split(",")[0] == before.split(",")[0]
    assert text(shown, "cell") != before
    shown.press(".")
    assert text(shown, "title").endswith("11 Jan 2020, 06:00 UTC")
    assert text(shown, "lead-text") == "+ 12 hours"
    shown.press(",")
    shown.press(" ", "Space")
    assert text(shown, "play") == "Pause"
    shown.until("document.getElementById('lead-text').textContent === '+ 12 hours'", 10)
    shown.press(" ", "Space")
    assert text(shown, "play") == "Play"


@needs_chromium
@pytest.mark.parametrize("how", ["chosen", "dropped"])
def test_own_file_gets_its_forecast(shown, service_server, tmp_path, how):
    later = service_server.fields(service_server.N + 4)
    path = tmp_path / "later.nc"
    path.write_bytes(service_server.as_netcdf(later))
    if how == "chosen":
        shown.choose("#file", path)
    else:
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            shown.call("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)
    shown.until("document.getElementById('title').textContent.endsWith('12 Jan 2020, 00:00 UTC')")
    assert shown.run("document.getElementById('truth-pane').hidden")
    assert "later.nc" in shown.run("document.getElementById('reference').selectedOptions[0].textContent")


@needs_chromium
def test_wrong_file_is_said_in_the_servers_words(shown, tmp_path):
    path = tmp_path / "wrong.nc"
    path.write_bytes(b"GRIB....")
    shown.choose("#file", path)
    said = shown.until("document.querySelector('#status.fault')?.textContent")
    assert "GRIB" in said
    assert shown.run("!document.getElementById('view').hidden"), "the older forecast stays"


@needs_chromium
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_fits_the_width_of_a_phone(browser, service, path):
    browser.open(f"{service.url}{path}", 360, 740)
    browser.until("document.querySelector('#view:not([hidden]), .operation') !== null")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert not browser.said


@needs_chromium
def test_docs_list_every_route(browser, service):
    browser.open(f"{service.url}/docs")
    browser.until("document.querySelectorAll('.operation').length")
    with service.client() as client:
        routes = {
            f"{method.upper()} {path}"
            for path, methods in client.get("/openapi.json").json()["paths"].items()
            for method in methods
        }
    assert (
        set(browser.run("[...document.querySelectorAll('.operation h2')].map(h => h.textContent)")) == routes
    )
    assert all(url.startswith((service.url, "data:")) for url in browser.asked), browser.asked


def test_files_of_the_pages_are_a_table(service):
    with service.client() as client:
        assert client.get("/static/map.js").headers["content-type"] == "text/javascript; charset=utf-8"
        for name in ("nothing.js", "..%2fapp.py", "%2e%2e%2fkeys.py", "__init__.py"):
            answer = client.get(f"/static/{name}")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
        for page in ("/", "/docs"):
            body = client.get(page).text
            assert "<style" not in body
            assert "<script>" not in body
            assert "//" not in body.replace("<!--", ""), "nothing from elsewhere"
