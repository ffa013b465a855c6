"""`python -m benchmarks.upload`: what a small upload costs a model's process beside the network.

The model, the fields and the bare computation are those of `benchmarks.service`: 32 x 32 cells, five frames
in and five out. Processor time of one thread is compared, by turns, as other processes disturb the clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.bare import bodies, save_bundle
from service.formats.writers import WRITERS
from service.media_types import JSON, NETCDF
from service.model.loaded import LoadedModel
from service.model.settings import ModelSettings
from service.model.upload import stored_dataset
from service.uploads.json_upload import parse_json
from stconv.forecast import Forecaster

ROUNDS = 40
LIMIT_BYTES = 10**8


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "air"
        save_bundle(bundle)
        model = LoadedModel(ModelSettings(str(bundle), threads=1))
    alone = Forecaster(model.forecaster.bundle)
    upload = parse_json(bodies()["json"], LIMIT_BYTES)
    ds, origin = alone.open_stored(stored_dataset(upload))
    checked = alone.check(ds, origin=origin)
    found = alone.fields(checked)
    forecast = alone.describe(found, checked)
    parts: dict[str, Callable[[], object]] = {
        "network": lambda: alone.fields(checked),
        "stored values to the canonical series": lambda: alone.open_stored(stored_dataset(upload)),
        "check": lambda: alone.check(ds, origin=origin),
        "describe": lambda: alone.describe(found, checked),
        "write JSON": lambda: WRITERS[JSON](forecast),
        "write NetCDF classic": lambda: WRITERS[NETCDF](forecast),
    }
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, work in parts.items():
            began = time.process_time()
            work()
            spent[name].append(time.process_time() - began)
    network = float(np.median(spent["network"]))
    for name, seconds in spent.items():
        each = float(np.median(seconds))
        print(f"{name:<40} {1e3 * each:8.2f} ms {each / network:8.3f} of the network")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
