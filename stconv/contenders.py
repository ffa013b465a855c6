"""Names of the forecasts that are scored side by side: a model, and its references."""

from __future__ import annotations

MODEL = "model"
"""The model under test."""
RIVAL = "rival"
"""Another model, compared on the windows that both were tested on."""

PERSISTENCE, CLIMATOLOGY = "persistence", "climatology"
BASELINES = (PERSISTENCE, CLIMATOLOGY)
"""References without a fit of their own; a model is promoted only if it beats them."""
DAMPED_PERSISTENCE, LINEAR_3X3, OPTICAL_FLOW = "damped persistence", "linear 3x3", "optical flow"
