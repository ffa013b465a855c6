"""A preparation with every setting, for tests of the settings and of the channels that they make."""

from stconv.datasets.preparation.settings import PreparationSettings

FULL = PreparationSettings(
    inputs=("q", "t"),
    targets=("t",),
    scaling="anomaly",
    per_cell=True,
    transforms={"t": "sqrt"},
    impute="persistence",
    mask_channel=True,
    static_fields=("latitude", "longitude", "position", "valid", "climate"),
    static_files={"height": "/somewhere/orography.nc"},
    time_features=True,
    solar_zenith=True,
    climatology_at_leads=True,
    bounds={"t": [0, None]},
)
