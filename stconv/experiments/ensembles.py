"""Several trained models as one that forecasts a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.bundle import Bundle
from stconv.experiments.trained_model import check_data, find_trained_model
from stconv.uncertainty.conformal import calibrate

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Combined:
    """A bundle made of several models.

    Attributes:
        folder: The bundle.
        n_models: Number of models in it.
        n_windows: Number of validation windows that its bands are calibrated on.
        config: Configuration of these data.
    """

    folder: Path
    n_models: int
    n_windows: int
    config: Path


def combine(
    references: Sequence[str],
    output: Path,
    name: str,
    config: str | None = None,
    dataset: xr.Dataset | None = None,
) -> Combined:
    """Combine models, calibrate the bands of the whole, and write it as a bundle.

    Args:
        references: Run ids or names, models:/NAME@ALIAS, or folders.
        output: Bundle to write; an existing one is replaced.
        name: Name of the model.
        config: Configuration of the calibration data; default: that of the first run.
        dataset: The data, if they are in memory.

    Raises:
        ConfigError: There are fewer than 2 models, or they differ in what they were trained on.
    """
    models = [find_trained_model(reference, config=config, dataset=dataset) for reference in references]
    joined = join([Bundle.load(model.bundle) for model in models], name)
    data = models[0].data()
    data.prepare_data()
    data.setup("validate")
    check_data(joined, data)
    joined.bands = bands = calibrate(joined.network, joined.preparation, data)
    joined.spec["bands"] = bands.to_spec()
    return Combined(joined.save(output), len(models), bands.n_windows, models[0].config)


def join(bundles: Sequence[Bundle], name: str) -> Bundle:
    """Make one bundle, without bands, of several.

    Raises:
        ConfigError: There are fewer than 2, or they differ in what they were trained on.
    """
    import torch

    from stconv.compute.tiling import tiles_of
    from stconv.errors import ConfigError
    from stconv.models import Ensemble, describe, modules_outside

    first = bundles[0]
    tensors = first.preparation.state_dict()
    for other in bundles[1:]:
        theirs = other.preparation.state_dict()
        if (
            other.preparation.spec != first.preparation.spec
            or any(other.spec[key] != first.spec[key] for key in ("grid", "step", "input_offsets", "leads"))
            or not all(torch.equal(tensors[key].nan_to_num(), theirs[key].nan_to_num()) for key in tensors)
        ):
            raise ConfigError(
                f"'{other.name}' was not trained on the same data with the same settings as "
                f"'{first.name}'. Train the models of an ensemble with the same `data` section."
            )
    network = Ensemble([bundle.network for bundle in bundles]).eval()
    members = [{"name": bundle.name, "bundle_sha256": bundle.hash} for bundle in bundles]
    spec = {**first.spec, "name": name, "network": describe(network), "members": members, "scores": {}}
    spec["tiles"] = tiles_of(network)
    spec.pop("bands", None)
    if modules := modules_outside(network):
        spec["modules"] = modules
    return Bundle(network, first.preparation, spec, first.always_valid)
