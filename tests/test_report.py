"""The page: complete in itself, well formed, and true to the numbers."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from stconv.verification import ScoreSums, Verification
from stconv.verification.report import write_report
from stconv.verification.report.pixels import picture
from stconv.verification.scores.calibration import Calibration
from stconv.verification.scores.case import Case, median_window
from stconv.verification.scores.maps import ErrorMaps
from stconv.verification.scores.similarity import Similarity
from stconv.verification.scores.slices import slice_scores
from stconv.verification.scores.spectra import PowerSpectra
from stconv.verification.scores.thresholds import ThresholdScores

LABELS, NAMES = ("6 h", "12 h"), ("air", "slp")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made():
    """A verification with everything that there can be."""
    rng = np.random.default_rng(7)
    truth = 3 * rng.normal(size=(60, 2, 2, 8, 9))
    truth[..., 0, 0] = np.nan
    fields = {
        "model": np.nan_to_num(truth) + rng.normal(size=truth.shape),
        "persistence": truth + 2 * rng.normal(size=truth.shape),
        "climatology": 0 * np.nan_to_num(truth),
    }
    sums = ScoreSums(NAMES, 2, ["K", "hPa"])
    sums.add(truth, fields, None, np.arange(60))
    tensors = [torch.from_numpy(truth), {name: torch.from_numpy(field) for name, field in fields.items()}]
    diagnostics = {
        "maps": ErrorMaps(NAMES, np.arange(8), np.arange(9)),
        "spectra": PowerSpectra(NAMES),
        "similarity": Similarity(NAMES, [20.0, 20.0]),
        "thresholds": ThresholdScores(NAMES, {"air": [1.0]}, [1, 3]),
    }
    for name, diagnostic in diagnostics.items():
        names = ("model", "persistence") if name == "spectra" else tuple(fields)
        diagnostic.add(tensors[0], {key: tensors[1][key] for key in names})
    calibration = Calibration(NAMES, 2)
    calibration.add_band(truth, fields["model"] - 1.3, fields["model"] + 1.3, 0.8)
    calibration.add_probability((truth > 0).astype(float), np.clip(0.5 + fields["model"] / 9, 0, 1))
    calibration.add_members(truth, np.stack([fields["model"] + x for x in (-1, 0, 1)]))
    plain = Verification(sums, "Net <1>", "data & more", ("2014-08-08", "2014-12-31"), LABELS, span=4)
    found = {name: part.to_dataset() for name, part in diagnostics.items()}
    found["calibration"] = calibration.to_dataset()
    found["slices"] = slice_scores(plain, {"first half": sums.select(np.arange(60) < 30)})
    case = Case(truth[0], fields["model"][0], "2014-08-08", LABELS, np.arange(8), np.arange(9))
    return replace(plain, diagnostics=found), case


class Checker(HTMLParser):
    """Every tag is closed in its order."""

    def __init__(self):
        super().__init__()
        self.opened = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "input"):
            self.opened.append(tag)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag


def headings(page):
    return re.findall("<h2>(.*?)</h2>", page)


def test_the_page_is_complete_in_itself_and_well_formed(made, tmp_path):
    verification, case = made
    about = {"Grid": "8 x 9 <cells>"}
    page = write_report(verification, tmp_path / "made" / "report.html", case=case, about=about).read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "Net &lt;1&gt; on data &amp; more" in page
    assert "8 x 9 &lt;cells&gt;" in page
    assert all(sentence in page for sentence in verification.verdict().splitlines())
    assert page.index(verification.verdict().splitlines()[0]) < page.index("<table")
    checker = Checker()
    checker.feed(page)
    assert checker.opened == []
    assert f"{verification.sums.rmse('model')[0, 0]:.3f}" in page


def test_every_part_that_was_scored_has_a_section(made, tmp_path):
    verification, case = made
    found = headings(write_report(verification, tmp_path / "r.html", case=case).read_text())
    for name in NAMES:
        assert f"Error and skill of {name}, lead by lead" in found
        assert f"Where the errors of {name} are" in found
        assert f"Is the forecast of {name} too smooth?" in found
        assert f"Do the stated uncertainties of {name} hold?" in found
        assert f"Seasons and regions of {name}" in found
    assert "Events of air" in found
    assert "Events of slp" not in found
    assert "One forecast, step by step" in found


def test_what_was_not_scored_has_no_section(made, tmp_path):
    verification, _ = made
    found = headings(write_report(replace(verification, diagnostics={}), tmp_path / "r.html").read_text())
    assert found == [
        *(f"Error and skill of {name}, lead by lead" for name in NAMES),
        "What this does not show",
        "How it was measured",
    ]


def test_the_limits_are_said(made, tmp_path):
    verification, _ = made
    page = write_report(verification, tmp_path / "r.html").read_text()
    assert "The test period has 145 days: it does not contain every season." in page
    few = replace(verification, sums=verification.sums.select(np.arange(60) < 9), diagnostics={})
    page = write_report(few, tmp_path / "r.html").read_text()
    assert "9 test windows are too few to say how sure the scores are" in page


def test_too_good_to_be_true_is_said(made):
    truth = np.random.default_rng(0).normal(size=(60, 1, 1, 3, 3))
    sums = ScoreSums(["t"], 1)
    sums.add(truth, {"model": truth + 0.01, "persistence": truth + 1}, None, np.arange(60))
    assert "look for a leak" in Verification(sums).warnings()[0]
    assert made[0].warnings() == []


def test_the_case_is_the_median_one():
    truth = np.zeros((5, 2, 1, 2, 2))
    error = (
        np.array([3.0, 0.1, 2.0, 9.0, 1.0])[:, None, None, None, None]
        * np.array([1, 100])[:, None, None, None]
    )
    sums = ScoreSums(["a", "b"], 1)
    sums.add(truth, {"model": truth + error}, None, np.array([10, 11, 12, 13, 14]))
    assert median_window(sums) == 12


@pytest.mark.filterwarnings("error")
def test_a_window_of_which_nothing_is_known_is_no_case():
    truth = np.zeros((4, 1, 1, 2, 2))
    error = np.array([3.0, np.nan, 2.0, 1.0])[:, None, None, None, None]
    sums = ScoreSums(["a"], 1)
    sums.add(truth + 0 * error, {"model": truth + error}, None, np.array([10, 11, 12, 13]))
    assert median_window(sums) == 12


def test_a_picture_is_north_up_and_gray_where_nothing_is_known():
    import base64
    import io

    import matplotlib.image

    field = np.array([[0.0, 1.0], [np.nan, 0.0]])  # the south first
    address = picture(field, 0, 1)
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert pixels.shape[:2] == (2, 2)
    np.testing.assert_allclose(pixels[0, 0, :3], 0.82, atol=0.01)
    np.testing.assert_allclose(pixels[0, 1], pixels[1, 0])
    assert not np.allclose(pixels[1, 1], pixels[1, 0])
