"""A trained model: `stconv.load`, and forecasts from data in any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from stconv.errors import ConfigError, VariableError
from stconv.front.contained import contained
from stconv.front.reading import Reading, grid_spec, source_of
from stconv.front.remedies import said_in_keywords

if TYPE_CHECKING:
    import xarray as xr

    from stconv.bundle import Bundle
    from stconv.datasets.source.grid_spec import GridSpec
    from stconv.forecast import Forecaster
    from stconv.front.explanation import Explained
    from stconv.front.export import Quantized
    from stconv.front.reading import Data


class Model:
    """A trained model, ready to forecast.

    Args:
        forecaster: The model in memory.
        folder: Its bundle.
        reference: Address that it was loaded from.
    """

    def __init__(self, forecaster: Forecaster, folder: Path, reference: str) -> None:
        self.forecaster, self.folder, self.reference = forecaster, folder, reference

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.bundle.name

    @property
    def version(self) -> str:
        """Version of the registered model, or the start of the bundle's hash."""
        return self.forecaster.version

    @property
    def bundle(self) -> Bundle:
        """Network, preparation and description of the training data."""
        return self.forecaster.bundle

    @property
    def card(self) -> str:
        """Model card in Markdown, with intended use, data, scores and limits."""
        from stconv.bundle.card import model_card

        return model_card(self.bundle.spec)

    @property
    def inputs(self) -> dict[str, Any]:
        """Requirements on the input, namely variables, units, grid, step and number of frames."""
        return self.forecaster.input_schema()

    def forecast(
        self,
        data: Data,
        steps: int | None = None,
        *,
        bands: bool = True,
        reference_time: Any = None,
        convert_units: bool = False,
        allowed_missing_share: float | None = None,
        slide: bool = False,
        further: Mapping[str, str] | None = None,
        **reading: Unpack[Reading],
    ) -> xr.Dataset:
        """Forecast from the newest complete window of the data, or from that of `reference_time`.

        Args:
            data: A Dataset, an array, or paths, with at least the newest frames that the model needs.
            steps: Number of leads; default: those of the training; further ones are rolled out.
            bands: Also return the 80 and 95 % bands of uncertainty.
            reference_time: Time of the newest input, ISO 8601.
            convert_units: Convert units that differ, and convert the forecast back.
            allowed_missing_share: Share of values, 0 to 1, that may be missing.
            slide: Let an event network slide over a larger grid of the same spacing.
            further: Paths of the further sources of the training (`data.sources`) by one of their variables;
                default: where they were. Variables that a Dataset holds are taken from it.
            **reading: As for `stconv.inspect`; default: as for the training.

        Returns:
            The forecast with the names, order, conventions and units of the data: variables (lead, lat, lon),
            and for each its bounds, such as t2m_lower_80.

        Raises:
            DataError: The data do not fit the model; the subclass and the message say why.
        """
        return self._forecast(
            data,
            reading,
            slide,
            further or {},
            steps=steps,
            bands=bands,
            reference_time=reference_time,
            convert_units=convert_units,
            allowed_missing_share=allowed_missing_share,
        )

    def plot(self, forecast: xr.Dataset, variable: str | None = None, interactive: bool = False) -> Any:
        """Draw a forecast of this model at every lead.

        Args:
            forecast: Forecast from `forecast`.
            variable: Variable to draw; default: the first.
            interactive: Draw with plotly (`pip install 'stconv[interactive]'`) instead of matplotlib, with a
                slider for the leads.

        Returns:
            A figure of matplotlib or of plotly.
        """
        from stconv.front.pictures import drawn_fields, forecast_figure

        fields = drawn_fields(forecast)
        name = next(iter(fields)) if variable is None else variable
        if name not in fields:
            raise VariableError(f"The forecast has no variable '{name}'; it has {', '.join(fields)}.")
        return forecast_figure(forecast, self.forecaster, fields[name], interactive)

    def explain(
        self,
        *,
        grid: tuple[int, int] | None = None,
        plot: str | Path | None = None,
        inputs: Sequence[str] | None = None,
        visualize: Sequence[tuple[str, int]] = (),
    ) -> Explained:
        """Describe the network: layers, cost, receptive field, and the frames that each lead sees.

        Args:
            grid: Rows and columns to count for; default: those of the training.
            plot: Folder for pictures of the first layer's filters, and of `inputs` and `visualize`.
            inputs: Files whose newest window is run for pictures of feature maps.
            visualize: Layers and channels to draw the input for that maximizes them.
        """
        from stconv.front.explanation import explain

        return explain(self.folder, grid=grid, plot=plot, inputs=inputs, visualize=visualize)

    def export(self, output: str | Path) -> Path:
        """Write the network as ONNX (.onnx) or as a program of torch.export (.pt2).

        It maps normalized frames (batch, channel, time, lat, lon) to the normalized forecast (batch, channel,
        lead, lat, lon), for any batch size and grid. Normalization and units stay in the bundle.

        Raises:
            ConfigError: The file ends otherwise, or the extra `onnx` is not installed.
        """
        from stconv.front.export import export

        return export(self.folder, output)

    def quantize(
        self,
        output: str | Path,
        data: xr.Dataset | None = None,
        *,
        config: str | Path | None = None,
        windows: int = 300,
    ) -> Quantized:
        """Write a bundle whose network is there in int8 too: faster, and slightly less accurate.

        Args:
            output: Folder of the new bundle, for `stconv.load(output, engine="openvino-int8")`.
            data: Dataset that the model was trained on, if it was in memory.
            config: Configuration of the training, if it is not found.
            windows: Number of windows of the training period to calibrate on, and of the validation period
                to measure the loss of accuracy on.

        Returns:
            The RMSE before and after by variable.

        Raises:
            ConfigError: There is no configuration of the data, or the extra `openvino` is not installed.
        """
        from stconv.front.export import quantize

        return quantize(self.reference, output, data, config=config, windows=windows)

    @contained
    def _forecast(
        self, data: Data, reading: Mapping[str, Any], slide: bool, further: Mapping[str, str], **options: Any
    ) -> xr.Dataset:
        from stconv.datasets.source.further import relocated
        from stconv.datasets.source.grid import open_series

        forecaster = self.forecaster
        with said_in_keywords():
            spec = changed(forecaster.source, grid_spec(reading, self.forecast))
            spec = replace(spec, sources=relocated(spec.sources, further))
            source = source_of(data, spec)
            ds, origin = open_series(source, _readable(spec, source), forecaster.names)
            if slide:
                from stconv.forecast import Forecaster
                from stconv.forecast.sliding import slide_over

                forecaster = Forecaster(slide_over(self.bundle, ds), version=forecaster.version)
            return forecaster.forecast(ds, origin=origin, **options)

    def __repr__(self) -> str:
        return f"Model {self.name} {self.version}, from {self.reference}"

    def _repr_html_(self) -> str:
        from stconv.front.html import model_html

        return model_html(self.name, self.version, self.reference, self.inputs, self.card)


@contained
def load(
    model: str | Path,
    *,
    device: str = "cpu",
    engine: str = "torch",
    tile: int | None = None,
) -> Model:
    """Load a trained model.

    Args:
        model: A bundle's folder, `runs:/ID`, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or `models:/NAME`
            for its champion.
        device: Device of PyTorch, cpu or cuda.
        engine: torch, openvino or openvino-int8.
        tile: Cells of a tile, for large grids; 0 for one piece; default: by the available memory.

    Raises:
        TrackingError: There is no such run, model, version or alias.
        BundleError: The bundle is missing, incomplete or changed.
        ConfigError: The reference is neither text nor a path.
    """
    if not isinstance(model, str | Path):
        raise ConfigError(
            f"The model is {model!r}; expected the folder of a bundle, or text such as models:/NAME@champion."
            " A run has `run.model()`, a version `stconv.load(version.reference)`."
        )
    from stconv.forecast import Forecaster
    from stconv.tracking.registry import find_version, resolve_bundle

    reference = str(model)
    is_address = reference.startswith(("models:/", "runs:/"))
    folder = resolve_bundle(reference) if is_address else Path(reference).expanduser()
    version = str(find_version(reference).version) if reference.startswith("models:/") else None
    return Model(Forecaster.from_path(folder, device, version, tile, engine), folder, reference)  # type: ignore[arg-type]


def changed(spec: GridSpec, given: GridSpec) -> GridSpec:
    """Override the options of the training by those that are given."""
    from dataclasses import asdict

    return replace(spec, **{name: value for name, value in asdict(given).items() if value})


def _readable(spec: GridSpec, source: xr.Dataset | list[str]) -> GridSpec:
    """For a Dataset, leave out names of the training data that it does not have."""
    from stconv.forecast.inputs import present_names

    return spec if isinstance(source, list) else present_names(spec, source)
