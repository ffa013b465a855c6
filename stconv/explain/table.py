"""The explanation of a network as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stconv.explain.explanation import Explanation
from stconv.explain.reach import Reach

if TYPE_CHECKING:
    from rich.console import Console


def print_explanation(found: Explanation, console: Console) -> None:
    """Print a table of the layers, the receptive field, and the sensitivity of each lead to each frame.

    Args:
        found: Explanation to print.
        console: Console to print on; for a pipe or a file it should be wide enough that no line wraps.
    """
    from rich.table import Table

    lat, lon = found.grid
    table = Table(title=f"{_name(found.network)} on {lat}x{lon} cells", title_justify="left", box=None)
    table.add_column("layer", overflow="fold")
    table.add_column("kind")
    for name in (
        "kernel",
        "output (ch, t, lat, lon)",
        "sees steps",
        "sees cells" if found.spacing is None else "sees degrees",
        "parameters",
        "multiply-adds",
        "share",
    ):
        table.add_column(name, justify="right")
    for layer, field in zip(found.layers, found.reaches, strict=True):
        if not layer.multiply_adds and not layer.kernel and not layer.parameters:
            continue
        name = layer.name or "the network itself"
        name += f" ({layer.calls} runs)" if layer.calls > 1 else ""
        table.add_row(
            name, layer.kind, _by(layer.kernel), _by((layer.channels, *layer.size)),
            str(field.steps), _seen(found, field), f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "-",
            f"{100 * layer.multiply_adds / found.multiply_adds:.1f} %" if layer.multiply_adds else "-",
        )  # fmt: skip
    console.print(table)
    console.print(f"\n{found.parameters:,} parameters, {found.multiply_adds:,} multiply-adds for a window.")
    console.print(f"The forecast of a cell sees {_extent(found)}.")
    console.print(
        "\nSensitivity of each lead to each input frame, for random inputs; - is a frame it cannot see:"
    )
    frames = Table(box=None)
    frames.add_column("lead", justify="right")
    n = len(found.frames[0])
    for i in range(n):
        frames.add_column(f"t-{n - 1 - i}" if i < n - 1 else "newest", justify="right")
    for lead, (seen, weights) in enumerate(zip(found.frames, found.weight_of_frames, strict=True), 1):
        cells = [f"{100 * w:.0f} %" if path else "-" for path, w in zip(seen, weights, strict=True)]
        frames.add_row(str(lead), *cells)
    console.print(frames)


def _extent(found: Explanation) -> str:
    field = found.output
    if field.whole_grid:
        return f"{field.steps} steps and the whole grid, whatever its size"
    degrees = found.degrees(field)
    extent = f" ({degrees[0]:g} x {degrees[1]:g} in units of the grid)" if degrees else ""
    return f"{field.steps} steps and {_cells(field)} cells{extent}"


def _name(network: dict[str, Any]) -> str:
    inner = network["arguments"].get("network")
    return f"{network['name']}({_name(inner)})" if isinstance(inner, dict) else str(network["name"])


def _by(sizes: tuple[int, ...] | None) -> str:
    return "x".join(map(str, sizes)) if sizes else "-"


def _seen(found: Explanation, field: Reach) -> str:
    degrees = found.degrees(field)
    return _cells(field) if degrees is None else "x".join(f"{extent:g}" for extent in degrees)


def _cells(field: Reach) -> str:
    return "all" if field.whole_grid else _by(field.cells)
