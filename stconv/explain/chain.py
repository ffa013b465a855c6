"""The receptive field of consecutive layers by the formula, for networks with one output for a cube."""

from __future__ import annotations

from stconv.explain.anatomy import Layer
from stconv.explain.reach import Reach
from stconv.models import Network


def chain_reaches(network: Network, layers: list[Layer]) -> tuple[list[Reach], Reach]:
    """Return the receptive field after each layer, and that of the output, the whole cube.

    r <- r + (F - 1) j and j <- j S for each layer with kernel F and stride S; a shortcut sees no more than
    the layers that it bypasses. Cells are counted from the start of the field.

    Args:
        network: Network that is built for a grid.
        layers: Its layers in the order of their calls.
    """
    assert network.own_grid is not None
    n_lat, n_lon = network.own_grid
    cube = Reach(network.t_in, (0, 0), (n_lat - 1, n_lon - 1))
    steps, span, jump, fields = 1, [1, 1], [1, 1], []
    for layer in layers:
        if layer.name.startswith("classifier"):
            fields.append(cube)
            continue
        if layer.kernel is not None and layer.stride is not None and ".shortcut" not in layer.name:
            steps = min(steps + layer.kernel[0] - 1, network.t_in)
            for axis in range(2):
                span[axis] += (layer.kernel[1 + axis] - 1) * jump[axis]
                jump[axis] *= layer.stride[1 + axis]
        fields.append(Reach(steps, (0, 0), (span[0] - 1, span[1] - 1)))
    return fields, cube
