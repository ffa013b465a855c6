"""Explanation of a network: its layers, their cost, and its receptive field."""

from stconv.explain.anatomy import Layer, anatomy, formula_size
from stconv.explain.explanation import Explanation, explain
from stconv.explain.reach import Reach, frames_in_reach, reach

__all__ = [
    "Explanation",
    "Layer",
    "Reach",
    "anatomy",
    "explain",
    "formula_size",
    "frames_in_reach",
    "reach",
]
