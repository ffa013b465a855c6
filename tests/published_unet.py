"""The U-Net as published, in (2+1)D, for tests of what surrounds a network."""

from typing import Any

from stconv.models import UNet


def published_unet(c_in: int, c_out: int, t_in: int, leads: int, **settings: Any) -> UNet:
    published = {
        "maker": "2plus1d",
        "encoder": "resnet",
        "growth": 2.0,
        "n_blocks": 1,
        "merge": "head",
        "interpolation": "nearest",
        "norm": "batch",
    }
    return UNet(c_in, c_out, t_in, leads, **(published | settings))  # type: ignore[arg-type]
