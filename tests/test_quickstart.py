"""The whole chain, and when it counts as failed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stconv.cli import quickstart as command
from stconv.errors import StconvError
from stconv.front import quickstart
from stconv.verification import ScoreSums, Verification


def result(model: float, persistence: float, climatology: float) -> Verification:
    """A verification with these errors at lead 1, and a model without fault at lead 2."""
    truth = torch.zeros(1, 1, 2, 2, 2)
    first = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1, 1)
    forecasts = {
        "model": truth + model * first,
        "persistence": truth + persistence * first + (1 - first),
        "climatology": truth + climatology * first + (1 - first),
    }
    sums = ScoreSums(["t2m"], 2)
    sums.add(truth, forecasts, None, [0])
    return Verification(sums)


@pytest.mark.parametrize(
    ("errors", "lost_to"),
    [
        ((1, 2, 3), []),
        ((2.5, 2, 3), ["persistence"]),
        ((2, 2, 3), []),
        ((2.02, 2, 3), ["persistence"]),
        ((4, 2, 3), ["persistence", "climatology"]),
    ],
)
def test_losing_to_a_reference_at_any_lead_is_a_failure(
    errors: tuple[float, ...], lost_to: list[str]
) -> None:
    sentences = quickstart.losses(result(*errors))
    found = [sentence.removeprefix("The model loses to ").split(":")[0] for sentence in sentences]
    assert found == lost_to


def test_a_loss_is_said_with_errors_and_leads() -> None:
    first = quickstart.losses(result(2.5, 2, 3))
    assert first == ["The model loses to persistence: RMSE of t2m 2.5 against 2 at lead 1."]


def test_a_link_that_fails_stops_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StconvError, match="`stconv inspect` ended with status 1"):
        command._command("inspect", "missing.nc")


@pytest.mark.slow
def test_the_whole_chain(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stconv", "quickstart", "--directory", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = " ".join(done.stdout.split())
    assert "Beats persistence, climatology, damped persistence and linear 3x3 at every lead." in said
    assert f"Picture of truth, forecast and error per lead: {tmp_path / 'forecast.png'}" in done.stdout
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
