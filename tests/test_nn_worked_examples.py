"""The hand-worked examples of the lectures, through the oracle and through the block."""

import numpy as np
import pytest
import torch
from torch import nn

from stconv.nn.conv import Convolution


def rows(text):
    return np.array([[float(value) for value in row.split()] for row in text.split("/")])


FIELD_6X6 = rows("1 2 3 1 3 5 / 2 2 5 4 2 5 / 0 6 9 6 2 2 / 2 0 1 9 4 0 / 5 5 4 6 7 6 / 6 1 3 7 1 5")
VERTICAL_EDGE = rows("1 0 -1 / 1 0 -1 / 1 0 -1")
FIELD_5X5 = rows(
    "60 113 56 139 85 / 73 121 54 84 128 / 131 99 70 129 127 / 80 57 115 69 134 / 104 126 123 95 130"
)
SHARPEN = rows("0 -1 0 / -1 5 -1 / 0 -1 0")
BINARY = rows("1 1 1 0 0 / 0 1 1 1 0 / 0 0 1 1 1 / 0 0 1 1 0 / 0 1 1 0 0")
CROSS = rows("1 0 1 / 0 1 0 / 1 0 1")
CURVE = rows(
    "0 0 0 0 0 30 0 / 0 0 0 0 30 0 0 / 0 0 0 30 0 0 0 / "
    "0 0 0 30 0 0 0 / 0 0 0 30 0 0 0 / 0 0 0 30 0 0 0 / 0 0 0 0 0 0 0"
)
MOUSE_BACK = rows(
    "0 0 0 0 0 0 30 / 0 0 0 0 50 50 50 / 0 0 0 20 50 0 0 / "
    "0 0 0 50 50 0 0 / 0 0 0 50 50 0 0 / 0 0 0 50 50 0 0 / 0 0 0 50 50 0 0"
)
MOUSE_HEAD = rows(
    "0 0 0 0 0 0 0 / 0 40 0 0 0 0 0 / 40 0 40 0 0 0 0 / "
    "40 20 0 0 0 0 0 / 0 50 0 0 0 0 0 / 0 0 50 0 0 0 0 / 25 25 0 50 0 0 0"
)

EXAMPLES = {
    "edge, stride 1": (
        FIELD_6X6,
        VERTICAL_EDGE,
        1,
        "valid",
        "-14 -1 10 -1 / -11 -11 7 12 / -7 -10 1 13 / 5 -16 -4 11",
    ),
    "edge, stride 2": (FIELD_6X6, VERTICAL_EDGE, 2, "valid", "-14 10 / -7 1"),
    "sharpen, padded": (
        FIELD_5X5,
        SHARPEN,
        1,
        "zero",
        "114 328 -26 470 158 / 53 266 -61 -30 344 / "
        "403 116 -47 295 244 / 108 -135 256 -128 344 / 314 346 279 153 421",
    ),
    "cross": (BINARY, CROSS, 1, "valid", "4 3 4 / 2 4 3 / 2 3 4"),
    "curve on the back": (MOUSE_BACK, CURVE, 1, "valid", "6600"),
    "curve on the head": (MOUSE_HEAD, CURVE, 1, "valid", "0"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(oracle, name):
    field, kernel, stride, space, expected = EXAMPLES[name]
    x, w = field[None, None], kernel[None, None]
    padding = ((1, 1), (1, 1)) if space == "zero" else None
    for convolve in (oracle.direct, oracle.im2col):
        np.testing.assert_array_equal(
            convolve(x, w, stride=(stride,) * 2, padding=padding)[0, 0], rows(expected)
        )
    block = Convolution(
        1,
        1,
        (1, *kernel.shape),
        stride=(1, stride, stride),
        space_padding=space,
        norm="none",
        activation="none",
    )
    with torch.no_grad():
        block.conv.weight.copy_(torch.tensor(kernel)[None, None, None])
        y = block(torch.tensor(field, dtype=torch.float32)[None, None, None])
    np.testing.assert_allclose(y[0, 0, 0].numpy(), rows(expected), atol=1e-3)


def test_separable_kernels_are_outer_products(oracle):
    sobel = np.outer([1, 2, 1], [-1, 0, 1])
    np.testing.assert_array_equal(sobel, rows("-1 0 1 / -2 0 2 / -1 0 1"))
    np.testing.assert_array_equal(np.outer([3, 4, 5], [1, 2, 3]), rows("3 6 9 / 4 8 12 / 5 10 15"))
    x = FIELD_6X6[None, None]
    in_two = oracle.direct(oracle.direct(x, np.array([[[[1], [2], [1]]]])), np.array([[[[-1, 0, 1]]]]))
    np.testing.assert_allclose(in_two, oracle.direct(x, sobel[None, None]))


def test_four_filters_give_depth_four_and_three_give_24():
    four = Convolution(3, 4, (1, 3, 3), space_padding="valid")
    assert four(torch.zeros(2, 3, 1, 7, 7)).shape == (2, 4, 1, 5, 5)
    three = Convolution(1, 3, (1, 5, 5), space_padding="valid")
    assert three(torch.zeros(2, 1, 1, 28, 28)).shape == (2, 3, 1, 24, 24)


def test_parameters_do_not_depend_on_the_grid_but_those_of_a_dense_layer_do():
    assert nn.Linear(200 * 200, 500, device="meta").weight.numel() == 20_000_000
    dense = Convolution(1, 4, (1, 300, 300), space_padding="valid", norm="none")
    assert sum(p.numel() for p in dense.parameters()) + 1 == 360_001
    block = Convolution(3, 4, (1, 3, 3), norm="none", bias=True)
    assert sum(p.numel() for p in block.parameters()) == 3 * 4 * 9 + 4
