"""Fields as small pictures inside a page, one pixel per cell, scaled by the browser, with a color bar."""

from __future__ import annotations

import base64
import io
import math

import numpy as np

from stconv.verification.report.field_plot import FIELD_COLORS, MISSING_COLOR

MAX_PIXELS = 256
"""Largest side of a picture; of larger grids every second, third, ... cell is drawn."""
STOPS = 9


def picture(field: np.ndarray, low: float, high: float, colors: str = FIELD_COLORS) -> str:
    """A field as the address of a PNG, north up if the rows ascend northward; missing cells are gray.

    Args:
        field: (lat, lon), rows ascending, NaN is missing.
        low: Value of the first color.
        high: Value of the last color.
        colors: Name of the color map.

    Returns:
        A `data:` address.
    """
    from matplotlib.image import imsave

    every = math.ceil(max(field.shape) / MAX_PIXELS)
    buffer = io.BytesIO()
    span = high - low if high > low else 1.0
    scaled = (field[::every, ::every] - low) / span
    imsave(buffer, _colors(np.flipud(scaled), colors), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def gradient(colors: str = FIELD_COLORS) -> str:
    """The colors from low to high, as CSS."""
    stops = _colors(np.linspace(0, 1, STOPS)[None], colors)[0, :, :3]
    return f"linear-gradient(to right, {', '.join(f'rgb({r},{g},{b})' for r, g, b in stops)})"


def _colors(scaled: np.ndarray, colors: str) -> np.ndarray:
    """uint8 RGBA of values in 0 to 1."""
    import matplotlib as mpl

    color_map = mpl.colormaps[colors].with_extremes(bad=MISSING_COLOR)
    rgba: np.ndarray = color_map(np.ma.masked_invalid(scaled), bytes=True)
    return rgba
