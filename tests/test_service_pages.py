"""The pages in a real Chromium, driven by Playwright; without Chromium the tests are skipped."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from playwright.sync_api import Browser, Page, expect

from page_visit import Visit, needs_chromium
from waiting import until


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield Visit(page)
    page.close()


@pytest.fixture(scope="module")
def filled(service):
    """The server, once its archive holds the newest forecast, which the page opens with."""
    with service.client() as client:
        until(
            lambda: "20200110T180000Z" in {f["name"] for f in client.get("/v1/forecasts").json()["forecasts"]}
        )
    return service


@pytest.fixture
def shown(visit, filled):
    """The map page with its first forecast."""
    visit.page.goto(f"{filled.url}/")
    expect(visit.page.locator("#view")).to_be_visible()
    return visit


@needs_chromium
def test_newest_forecast_is_shown_at_once(shown, service):
    assert shown.text("title") == "Temperature on Sat, 11 Jan 2020, 00:00 UTC"
    assert shown.text("times").startswith(
        "Forecast for 6 hours ahead, made from what was known on Fri, 10 Jan"
    )
    assert "Made by the model air" in shown.text("origin")
    assert "t2m (K)" in shown.text("needs")
    assert "8 \u00d7 10" in shown.text("needs")
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
          const { state } = await import('/static/state.js');
          return [state.view.px(364), state.view.py(44)];
        })()"""
    )
    shown.page.mouse.click(box[0] + where[0], box[1] + where[1])
    cells = shown.until("document.getElementById('cell').textContent.startsWith('44° N, 4° E') || ''")
    assert cells
    column = "[...document.querySelectorAll('#values tr')].slice(1).map(r => Number(r.cells[2].textContent))"
    assert shown.run(column) == pytest.approx([value - 273.15 for value in expected], abs=0.1), (
        "degrees Celsius"
    )
    shown.choose("units", "K")
    assert shown.run(column) == pytest.approx(expected, abs=0.1)


@pytest.fixture
def listed(shown):
    """The map page once past forecasts are there to choose from."""
    shown.until("document.querySelectorAll('#reference option').length > 10")
    return shown


@needs_chromium
def test_an_older_forecast_beside_what_was_observed(listed, service_server):
    """2020-01-09 12:00 is frame 34 of the file: both of its leads are known."""
    starts = "option => option.value.startsWith('20200109T120000Z.')"
    chosen = listed.run(f"[...document.getElementById('reference').options].find({starts}).value")
    listed.choose("reference", chosen)
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
    assert listed.text("truth-note") == ""


@needs_chromium
def test_older_and_newer_by_buttons_and_keys(listed):
    assert listed.run("document.getElementById('truth-pane').hidden"), "nothing is known yet"
    assert not listed.run("document.getElementById('future').hidden")
    newest = listed.run("document.getElementById('reference').value")
    assert newest.startswith("20200110T180000Z.")
    assert listed.run("document.getElementById('newer').disabled")
    listed.run("document.getElementById('older').click()")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 12:00')")
    assert listed.text("truth-note") == ""
    listed.run("document.getElementById('map').focus()")
    listed.page.keyboard.press(".")
    assert listed.text("truth-note") == "(not known yet)"
    listed.page.keyboard.press("[")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 06:00')")
    listed.page.keyboard.press("]")
    listed.until("document.getElementById('times').textContent.includes('10 Jan 2020, 12:00')")


@needs_chromium
def test_quality_of_past_forecasts_is_said(listed, service):
    listed.until("!document.getElementById('quality').hidden")
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
          const unit = { label: 'K', difference: (error) => error };
          showQuality({ cases: 12, leads: [1, 2], lead_labels: ['6 h', '12 h'],
            first_reference_time: '2020-01-01T00:00:00Z', last_reference_time: '2020-01-05T00:00:00Z',
            below: [{ variable: 't2m', lead: 2, skill: -0.25 }],
            variables: { t2m: { units: 'K', cases: [12, 11], rmse: { model: [1, 5], persistence: [2, 4] },
              skill: { persistence: [0.5, -0.25] } } } }, 't2m', unit);
        })()"""
    )
    assert shown.text("quality-warning").startswith("Warning: the forecasts for 12 h ahead")
    assert shown.run("!document.getElementById('quality-warning').hidden")
    assert "−25 %" in shown.text("quality-table")  # noqa: RUF001


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
    before = shown.text("cell")
    shown.page.keyboard.press("ArrowUp")
    north = shown.text("cell")
    assert float(north.split("°")[0]) == float(before.split("°")[0]) + 2, "up is north"
    shown.page.keyboard.press("ArrowDown")
    shown.page.keyboard.press("ArrowRight")
    assert shown.text("cell").split(",")[0] == before.split(",")[0]
    assert shown.text("cell") != before
    shown.page.keyboard.press(".")
    assert shown.text("title").endswith("11 Jan 2020, 06:00 UTC")
    assert shown.text("lead-text") == "+ 12 hours"
    shown.page.keyboard.press(",")
    shown.page.keyboard.press("Space")
    assert shown.text("play") == "Pause"
    shown.until("document.getElementById('lead-text').textContent === '+ 12 hours'")
    shown.page.keyboard.press("Space")
    assert shown.text("play") == "Play"


def drop(page: Page, path: Path) -> None:
    """A file that is dragged from outside: the events that a browser sends the page."""
    data = page.evaluate_handle(
        """([base64, name]) => {
          const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name],
    )
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", kind, {"dataTransfer": data})


@needs_chromium
@pytest.mark.parametrize("how", ["chosen", "dropped"])
def test_own_file_gets_its_forecast(shown, service_server, tmp_path, how):
    later = service_server.fields(service_server.N + 4)
    path = tmp_path / "later.nc"
    path.write_bytes(service_server.as_netcdf(later))
    if how == "chosen":
        shown.page.set_input_files("#file", path)
    else:
        drop(shown.page, path)
    shown.until("document.getElementById('title').textContent.endsWith('12 Jan 2020, 00:00 UTC')")
    assert shown.run("document.getElementById('truth-pane').hidden")
    assert "later.nc" in shown.run("document.getElementById('reference').selectedOptions[0].textContent")


@needs_chromium
def test_wrong_file_is_said_in_the_servers_words(shown, tmp_path):
    path = tmp_path / "wrong.nc"
    path.write_bytes(b"GRIB....")
    shown.page.set_input_files("#file", path)
    said = shown.until("document.querySelector('#status.fault')?.textContent")
    assert "GRIB" in said
    assert shown.run("!document.getElementById('view').hidden"), "the older forecast stays"


@needs_chromium
def test_own_forecast_is_not_taken_for_observations(shown, service, tmp_path):
    """What the page itself gives to keep, dropped onto it."""
    with service.client() as client:
        headers = {"Accept": "application/x-netcdf"}
        (tmp_path / "kept.nc").write_bytes(client.get("/v1/forecasts/latest", headers=headers).content)
    drop(shown.page, tmp_path / "kept.nc")
    said = shown.until("document.querySelector('#status.fault')?.textContent")
    assert said.startswith(
        "The input is a forecast (made by stconv with the model air), expected observations."
    )
    assert "own file" not in shown.run("document.getElementById('reference').value")


@needs_chromium
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_fits_the_width_of_a_phone(visit, service, path):
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.page.goto(f"{service.url}{path}")
    visit.until("document.querySelector('#view:not([hidden]), .operation') !== null")
    assert visit.run("document.documentElement.scrollWidth") <= 360
    assert not visit.said


@needs_chromium
def test_docs_list_every_route(visit, service):
    visit.page.goto(f"{service.url}/docs")
    visit.until("document.querySelectorAll('.operation').length")
    with service.client() as client:
        routes = {
            f"{method.upper()} {path}"
            for path, methods in client.get("/openapi.json").json()["paths"].items()
            for method in methods
        }
    assert set(visit.run("[...document.querySelectorAll('.operation h2')].map(h => h.textContent)")) == routes
    assert all(url.startswith((service.url, "data:")) for url in visit.asked), visit.asked


def test_files_of_the_pages_are_a_table(service):
    with service.client() as client:
        assert client.get("/static/map.js").headers["content-type"] == "text/javascript; charset=utf-8"
        for name in ("nothing.js", "..%2fapp.py", "%2e%2e%2fkeys.py", "__init__.py"):
            answer = client.get(f"/static/{name}")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
        tag = client.get("/static/places.json").headers["etag"]
        again = client.get("/static/places.json", headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        for page in ("/", "/docs"):
            body = client.get(page).text
            assert "<style" not in body
            assert "<script>" not in body
            assert "//" not in body.replace("<!--", ""), "nothing from elsewhere"
