"""A stored hindcast on the test period of the data: the scores of a test, without computing a forecast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.experiments.trained_model import TrainedModel, check_data, load_scoring

if TYPE_CHECKING:
    from stconv.datasets.remote.address import Place
    from stconv.verification import Verification
    from stconv.verification.scores.scoring import Scoring


def evaluate_hindcast(
    store: Place, trained: TrainedModel, output: Path | None = None, scoring: Scoring | None = None
) -> tuple[Verification, Path]:
    """Score the forecasts of a store from the reference times of the test period, batch by batch.

    The result equals that of a test on the same windows. It is written, and not recorded on a run.

    Args:
        store: Store of `stconv hindcast`.
        trained: Model that the forecasts are from, with the configuration of the data to score on.
        output: Folder to write to; default: "verification" in the working folder.
        scoring: Further scores besides the errors; default: those of the configuration.

    Returns:
        The result, and the folder with report, pictures and scores.

    Raises:
        ConfigError: The forecasts are those of another model, or of an event.
        WindowError: The store holds no forecast from the test period.
        SplitError: The test period reaches into what the model was trained or selected on.
    """
    import torch

    from stconv.bundle import Bundle
    from stconv.datasets.series.dataset import WindowDataset
    from stconv.errors import ConfigError, WindowError
    from stconv.evaluation.assessment import Assessment
    from stconv.hindcasts.fingerprint import fingerprint_of_model
    from stconv.hindcasts.stored import Stored
    from stconv.results import write_results
    from stconv.task import ForecastTask
    from stconv.tracking.run_layout import VERIFICATION

    stored, bundle = Stored(store), Bundle.load(trained.bundle)
    if stored.origin["model"] != fingerprint_of_model(bundle, bool(stored.origin["bands"])):
        raise ConfigError(
            f"The forecasts of '{store}' are of another model than {bundle.name}, bundle {bundle.hash[:12]}. "
            "Name the run or the bundle that they are from."
        )
    contract = bundle.contract
    if contract.of_event:
        raise ConfigError(
            f"'{store}' holds probabilities of an event, which are scored by `stconv test` alone."
        )
    data = trained.data()
    data.prepare_data()
    data.setup("test")
    check_data(bundle, data)
    rows = stored.rows(data.series, data.references["test"])
    if not rows:
        raise WindowError(
            f"'{store}' holds no forecast from the {len(data.references['test'])} windows of the test "
            f"period, from {data.describe().periods['test'].start} on. Make the hindcast over that period."
        )
    bands = bundle.bands if stored.bounds(contract) else None
    scoring = scoring or load_scoring(trained)
    assessment = Assessment(data, bundle.preparation, scoring, bands)
    windows, chosen = WindowDataset(data.series, data.spec, list(rows)), list(rows.values())
    n = data.loading.batch_size
    with torch.inference_mode():
        for start in range(0, len(chosen), n):
            part = chosen[start : start + n]
            batch = windows.batch(range(start, start + len(part)))
            fields = torch.from_numpy(stored.fields(part, contract, data.series, bands is not None))
            assessment.add_forecast(batch, fields[0], None if bands is None else fields[1:])
    left_out = len(data.references["test"]) - len(rows)
    if left_out:
        print(f"{left_out} windows of the test period are not in '{store}'.", file=sys.stderr)
    result = assessment.verification(bundle.network.display_name)
    task = ForecastTask(bundle.network, None, scoring=scoring)
    task.preparation, task.bands = bundle.preparation, bundle.bands
    folder = output or Path(VERIFICATION)
    about = {
        "Model": f"{bundle.name}, bundle {bundle.hash[:12]}",
        "Forecasts": f"{len(rows)} of the {len(rows) + left_out} test windows, from {store}",
    }
    write_results(result, task, data, folder, about)
    return result, folder
