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
    assert text(shown, "title") == "temperature for 2020-01-11 00:00 UTC"
    assert "+6 h after the reference time 2020-01-10 18:00 UTC. Model air" in text(shown, "times")
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
    found = shown.run("[...document.querySelectorAll('#values tr')].map(r => Number(r.cells[2].textContent))")
    assert found == pytest.approx(expected, abs=0.1)


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
    assert text(shown, "title").endswith("2020-01-11 06:00 UTC")
    assert text(shown, "lead-text") == "+12 h"
    shown.press(",")
    shown.press(" ", "Space")
    assert text(shown, "play") == "Pause"
    shown.until("document.getElementById('lead-text').textContent === '+12 h'", 10)
    shown.press(" ", "Space")
    assert text(shown, "play") == "Play"


@needs_chromium
def test_own_file_gets_its_forecast(shown, service_server, tmp_path):
    later = service_server.fields(service_server.N + 4)
    path = tmp_path / "later.nc"
    path.write_bytes(service_server.as_netcdf(later))
    shown.choose("#file", path)
    shown.until("document.getElementById('title').textContent.endsWith('2020-01-12 00:00 UTC')")


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
