"""Warnings of the front door are shown at the line that called it, and once in a call."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.front import warned
from stconv.front.contained import contained
from stconv.front.warned import warned_at_the_caller

WITHOUT_TIMES = xr.Dataset({"t": (("time", "y", "x"), np.arange(480.0).reshape(20, 4, 6))})
PROGRAM = """\
import numpy as np
import xarray as xr
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.front.contained import contained
ds = xr.Dataset({"t": (("time", "y", "x"), np.arange(480.0).reshape(20, 4, 6))})
def twice():
    return [open_series(ds, GridSpec(step="6h")) for _ in range(2)]
read = contained(twice)
read()
"""


def test_a_warning_names_the_line_of_the_call(tmp_path):
    program = tmp_path / "notebook.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SourceWarning") == 1
    assert f"{program}:9: SourceWarning: the Dataset has no times" in done.stderr
    assert done.stdout == ""


def test_a_sentence_is_shown_once_in_a_call_and_again_in_the_next(monkeypatch):
    monkeypatch.setattr(warned, "BETWEEN", (warned.__file__, *warned.BETWEEN[1:]))
    for _ in range(2):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            with warned_at_the_caller():
                for _ in range(3):
                    warnings.warn_explicit("twice", SourceWarning, f"{warned.PACKAGE}/datasets/x.py", 7)
                    warnings.warn_explicit("twice", UserWarning, "/elsewhere/y.py", 8)
            warnings.warn_explicit("after", SourceWarning, f"{warned.PACKAGE}/datasets/x.py", 9)
        places = [(str(one.message), one.filename, one.lineno) for one in shown]
        assert [place for place in places if place[0] == "twice" and place[1] == "/elsewhere/y.py"] == [
            ("twice", "/elsewhere/y.py", 8)
        ] * 3
        ours = [place for place in places if place[1] != "/elsewhere/y.py"]
        assert [place[:2] for place in ours] == [
            ("twice", __file__),
            ("after", f"{warned.PACKAGE}/datasets/x.py"),
        ]


def test_what_a_user_filters_out_or_raises_stays_so():
    read = contained(lambda: open_series(WITHOUT_TIMES, GridSpec(step="6h")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SourceWarning, match="the Dataset has no times"):
            read()
        warnings.simplefilter("ignore", SourceWarning)
        read()
    before = warnings.showwarning
    with pytest.warns(SourceWarning, match="the Dataset has no times") as shown:
        read()
    assert warnings.showwarning is before
    assert {one.filename for one in shown} == {__file__}
