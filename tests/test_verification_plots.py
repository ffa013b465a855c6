"""Pictures and the page: written, readable as the format they state, north up, missing cells gray."""

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest
from scipy import ndimage

from stconv.errors import ConfigError, ShapeError
from stconv.verification import ScoreSums, Verification
from stconv.verification.report.field_plot import (
    _oriented,
    _short_times,
    forecast_figure,
    forecast_plot,
)
from stconv.verification.report.plots import COLORS, compare_figure, save, skill_plot
from stconv.verification.scores.pairing import pair

LABELS = ("6 h", "12 h")


def made_verification(seed=0, noise=1.0, n=60, variables=("air", "slp"), start=0, lost=()):
    rng = np.random.default_rng(7)
    truth = 3 * rng.normal(size=(n, len(variables), 2, 4, 5))
    truth[..., 0, 0] = np.nan
    truth[(..., *lost)] = np.nan if lost else truth[(..., *lost)]
    newest = truth + 2 * rng.normal(size=truth.shape)
    model = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    fields = {"model": np.nan_to_num(model), "persistence": newest, "climatology": 0 * np.nan_to_num(truth)}
    sums = ScoreSums(variables, 2, ["K", "hPa"][: len(variables)])
    sums.add(truth, fields, None, np.arange(start, start + n))
    return Verification(sums, "Net <1>", "data & more", ("2014-08-08", "2014-12-31"), LABELS, span=4)


def pixels_of(path):
    return matplotlib.image.imread(path)[..., :3]


def drawn_at(pixels, color):
    """Median row and column of the pixels of one color: of its line, since a legend's sample is short."""
    rows, columns = np.nonzero(np.abs(pixels - matplotlib.colors.to_rgb(color)).max(-1) < 0.02)
    assert rows.size > 100, f"nothing is drawn in {color}"
    return np.median(rows), np.median(columns)


def panels_of(pixels):
    """The maps of a picture, row by row: connected pixels that are not white, as large as the largest."""
    components, _ = ndimage.label((pixels < 0.99).any(-1))
    boxes = ndimage.find_objects(components)
    sizes = np.array([(box[0].stop - box[0].start, box[1].stop - box[1].start) for box in boxes])
    largest = sizes[np.argmax(sizes.prod(1))]
    panels = [box for box, size in zip(boxes, sizes, strict=True) if np.all(np.abs(size - largest) < 8)]
    return [pixels[box] for box in sorted(panels, key=lambda box: (box[0].start // 20, box[1].start))]


def colors_of_cells(panel, n_lat, n_lon):
    """The colors in the middle of the cells, south first; ticks stand out 3 pixels to the left and below."""
    height, width = panel.shape[0] - 3, panel.shape[1] - 3
    rows = ((np.arange(n_lat)[::-1] + 0.5) * height / n_lat).astype(int)
    columns = 3 + ((np.arange(n_lon) + 0.5) * width / n_lon).astype(int)
    return panel[rows[:, None], columns]


def test_skill_is_drawn_in_a_row_of_each_variable_and_in_order(tmp_path):
    """Noise of 1, 2 and 3: the model errs least, and its skill against climatology is the larger one."""
    pixels = pixels_of(skill_plot(made_verification(), tmp_path / "made" / "skill.png"))
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    for top in (0, height):
        errors, skills = pixels[top : top + height, :width], pixels[top : top + height, width:]
        model, persistence, climatology = (
            drawn_at(errors, color)[0] for color in (COLORS[0], "0.35", "0.55")
        )
        assert model > persistence > climatology, "rows count from above"
        assert drawn_at(skills, COLORS[0])[0] > drawn_at(skills, COLORS[1])[0]


def test_runs_are_drawn_side_by_side(tmp_path):
    verification = made_verification()
    rmse, skill = verification.sums.rmse("model")[0], verification.sums.skill("model", "persistence")[0]
    figure = compare_figure(
        {"a": rmse, "b": 2 * rmse},
        {"a": skill, "b": skill - 1},
        lead_labels=LABELS,
        reference_rmse={"persistence": rmse * 1.5},
        intervals={"a": verification.skill_interval("persistence")[:, 0]},
    )
    pixels = pixels_of(save(figure, tmp_path / "compare.png"))
    above_legend, width = int(0.8 * pixels.shape[0]), pixels.shape[1] // 2
    errors, skills = pixels[:above_legend, :width], pixels[:above_legend, width:]
    a, reference, b = (drawn_at(errors, color)[0] for color in (COLORS[0], "0.35", COLORS[1]))
    assert a > reference > b
    assert drawn_at(skills, COLORS[0])[0] < drawn_at(skills, COLORS[1])[0]


@pytest.mark.parametrize(("n_lat", "n_lon", "n_leads"), [(4, 30, 1), (30, 4, 12), (1, 1, 2)])
def test_forecast_picture_of_any_form(tmp_path, n_lat, n_lon, n_leads):
    """Each cell of each map has the color of its value; the error, 1 everywhere, that of the upper end."""
    fields = np.random.default_rng(0).normal(size=(n_leads, n_lat, n_lon))
    labels = [f"{lead} h" for lead in range(1, n_leads + 1)]
    shown = np.round(np.linspace(0, n_leads - 1, min(n_leads, 6))).astype(int)

    def check(panels, drawn, low, high, colors):
        assert len(panels) == len(shown)
        for panel, field in zip(panels, drawn[shown], strict=True):
            expected = matplotlib.colormaps[colors]((field - low) / (high - low))[..., :3]
            np.testing.assert_allclose(colors_of_cells(panel, n_lat, n_lon), expected, atol=0.02)

    panels = panels_of(pixels_of(forecast_plot(None, fields, tmp_path / "alone.png", lead_labels=labels)))
    check(panels, fields, *np.quantile(fields, [0.005, 0.995]), "viridis")
    panels = panels_of(pixels_of(forecast_plot(fields, fields + 1, tmp_path / "f.png", lead_labels=labels)))
    limits = np.quantile([fields, fields + 1], [0.005, 0.995])
    n = len(shown)
    check(panels[:n], fields, *limits, "viridis")
    check(panels[n : 2 * n], fields + 1, *limits, "viridis")
    check(panels[2 * n :], np.ones_like(fields), -1, 1, "RdBu_r")


def test_fields_without_any_value_are_drawn_gray(tmp_path):
    nothing = np.full((2, 8, 8), np.nan)
    pixels = matplotlib.image.imread(forecast_plot(nothing, nothing, tmp_path / "n.png", lead_labels=LABELS))
    gray = np.all(np.abs(pixels[..., :3] - 0.82) < 0.01, axis=-1)
    assert gray.mean() > 0.3


def test_colors_span_what_a_few_cells_hold():
    rain, noise = np.zeros((1, 40, 40)), np.random.default_rng(0).normal(size=(1, 40, 40))
    rain[0, 3, :4] = 10.0  # 0.25 % of the cells
    for fields, expected, ends in (
        (rain, (0.0, 10.0), "neither"),
        (noise, tuple(np.quantile(noise, [0.005, 0.995])), "both"),
    ):
        figure = forecast_figure(None, fields, lead_labels=["1 h"])
        assert figure.axes[0].images[0].get_clim() == pytest.approx(expected)
        assert figure.axes[0].images[0].colorbar.extend == ends
        assert figure.axes[0].get_ylabel() == ""  # a single row needs no name


@pytest.mark.parametrize("direction", [1, -1])
def test_north_is_up_and_east_is_right(tmp_path, direction):
    lat, lon = np.linspace(0, 60, 10)[::direction], np.linspace(0, 90, 12)[::direction]
    warm_north_east = (lat[:, None] > 40) & (lon > 60)
    field = np.where(warm_north_east, 10.0, 0.0)[None]
    rows, extent, _ = _oriented({"forecast": field}, lat, lon, True)
    assert rows["forecast"][0, -1, -1] == 10  # drawn with the origin below: last row is north
    assert rows["forecast"][0, 0, 0] == 0
    assert extent[:2] == pytest.approx((-90 / 22, 90 + 90 / 22))
    path = forecast_plot(None, field, tmp_path / "f.png", lead_labels=["6 h"], lat=lat, lon=lon)
    pixels = matplotlib.image.imread(path)[..., :3]
    yellow = np.all(np.abs(pixels - [0.993, 0.906, 0.144]) < 0.02, axis=-1)
    dark = np.all(np.abs(pixels - [0.267, 0.005, 0.329]) < 0.02, axis=-1)
    yellow[:, int(0.8 * yellow.shape[1]) :] = False  # not the color bar
    dark[:, int(0.8 * dark.shape[1]) :] = False
    up, right = (np.median(axis) for axis in np.nonzero(yellow))
    down, left = (np.median(axis) for axis in np.nonzero(dark))
    assert up < down
    assert right > left


@pytest.mark.parametrize(
    ("coordinate", "geographic", "labels"),
    [
        (np.arange(4.0), True, ("longitude, degrees east", "latitude, degrees north")),
        (np.arange(4.0), False, ("coordinate of the column", "coordinate of the row")),
        (None, True, ("column", "row")),
    ],
)
def test_axes_of_a_map_are_labeled(coordinate, geographic, labels):
    grid = {"lat": coordinate, "lon": coordinate, "geographic": geographic}
    figure = forecast_figure(None, np.zeros((1, 4, 4)), lead_labels=["6 h"], **grid)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == labels


def test_times_are_shown_as_short_as_they_can_be():
    assert _short_times(["2014-01-01T06:00:00", "2014-01-01T12:00:00"]) == [
        "2014-01-01 06:00",
        "2014-01-01 12:00",
    ]
    assert _short_times(["2014-01-01T00:00:00", "2014-02-01T00:00:00"]) == ["2014-01-01", "2014-02-01"]
    assert _short_times(["2014-01-01 06:00", "2014-01-01 12:00"]) == ["2014-01-01 06:00", "2014-01-01 12:00"]
    assert _short_times(["2014-01"]) == ["2014-01"]
    assert _short_times([]) == []


def test_fields_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"truth to draw is \(2, 4, 5\), the forecast \(2, 4, 4\)"):
        forecast_plot(np.zeros((2, 4, 5)), np.zeros((2, 4, 4)), tmp_path / "f.png", lead_labels=LABELS)
    with pytest.raises(ShapeError, match=r"expected \(leads, lat, lon\)"):
        forecast_plot(None, np.zeros((4, 4)), tmp_path / "f.png", lead_labels=LABELS)


def test_two_models_are_compared_on_the_windows_they_share():
    ours, theirs = made_verification(noise=1.0, n=60), made_verification(seed=1, noise=1.5, n=60)
    late = theirs.sums.select(np.arange(60) >= 20)
    paired = pair(ours.sums, late)
    assert paired.reference_index.tolist() == list(range(20, 60))
    np.testing.assert_allclose(paired.rmse("rival"), late.rmse("model"))
    assert Verification(paired, span=4).beats("rival").all()
    again = pair(ours.sums, ours.sums)
    assert (Verification(again).outcome("rival") == "undecided").all()


def test_models_that_were_not_scored_alike_are_not_compared():
    ours = made_verification().sums
    with pytest.raises(ConfigError, match=r"forecasts .*, the other"):
        pair(ours, made_verification(variables=("air",)).sums)
    with pytest.raises(ConfigError, match="no window in common"):
        pair(ours, made_verification(start=1000).sums)
    with pytest.raises(ConfigError, match="scored on different cells"):
        pair(ours, made_verification(lost=(2, 2)).sums)
