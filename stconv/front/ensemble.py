"""Several trained models as one that forecasts a distribution: `stconv.ensemble`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.front.contained import contained
from stconv.front.evaluation import reference_of

if TYPE_CHECKING:
    import xarray as xr

    from stconv.experiments.ensembles import Combined
    from stconv.front.model import Model
    from stconv.front.registry import Version
    from stconv.front.run import Run


@contained
def ensemble(
    models: Sequence[Model | Run | Version | str | Path],
    output: str | Path,
    data: xr.Dataset | None = None,
    *,
    name: str = "ensemble",
    config: str | Path | None = None,
) -> Combined:
    """Combine trained models, calibrate the bands of the whole, and write it as a bundle.

    The forecast is the mean of their forecasts, and their spread widens the bands where they disagree.

    Args:
        models: Two or more runs, models, versions, or their addresses, trained on the same data.
        output: Bundle to write, for `stconv.load`; an existing one is replaced.
        data: Dataset that they were trained on, if it was in memory.
        name: Name of the model.
        config: Configuration of the calibration data; default: that of the first model.

    Raises:
        ConfigError: There are fewer than 2 models, or they differ in what they were trained on.
    """
    from stconv.experiments.ensembles import combine

    references = [str(reference_of(model)) for model in models]
    return combine(references, Path(output), name, None if config is None else str(config), data)
