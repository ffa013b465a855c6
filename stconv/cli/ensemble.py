"""`stconv ensemble`: combine several trained models into one that forecasts a distribution."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stconv.bundle import Bundle

EPILOG = """examples:
  stconv ensemble RUN RUN RUN --output ensemble            runs of one configuration with different seeds
  stconv evaluate ensemble --config runs/air/RUN/config.yaml

The forecast is the mean of their forecasts, and their spread widens the bands of uncertainty where they
disagree. The bands are calibrated again, on the validation period of the first model's data.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv ensemble`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("references", nargs="+", metavar="REFERENCE", help="run ids or names, models:/NAME@ALIAS, or folders")
    add("--output", required=True, metavar="DIR", help="bundle to write; an existing one is replaced")
    add(
        "--config",
        metavar="FILE",
        help="configuration of the calibration data (default: that of the first run)",
    )
    add("--name", default="ensemble", help="name of the model (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Combine, calibrate and write."""
    from stconv.bundle import Bundle
    from stconv.cli.trained_model import check_data, find_trained_model, load_data
    from stconv.uncertainty.conformal import calibrate

    models = [find_trained_model(reference, config=args.config) for reference in args.references]
    joined = join([Bundle.load(model.bundle) for model in models], args.name)
    data = load_data(models[0].config)
    data.prepare_data()
    data.setup("validate")
    check_data(joined, data)
    joined.bands = calibrate(joined.network, joined.preparation, data)
    joined.spec["bands"] = joined.bands.to_spec()
    folder = joined.save(Path(args.output))
    print(f"{len(models)} models combined, calibrated on {joined.bands.n_windows} windows: {folder}")
    print(f"Next: stconv evaluate {folder} --config {models[0].config}")
    return 0


def join(bundles: Sequence[Bundle], name: str) -> Bundle:
    """Make one bundle, without bands, of several.

    Raises:
        ConfigError: There are fewer than 2, or they differ in what they were trained on.
    """
    import torch

    from stconv.bundle import Bundle
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
