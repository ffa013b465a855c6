"""Names of the forecasts that are scored side by side: a model, and the references it has to beat."""

from __future__ import annotations

MODEL = "model"
"""The one that is judged."""
RIVAL = "rival"
"""Another model, on the windows that both were tested on."""

PERSISTENCE, CLIMATOLOGY = "persistence", "climatology"
BASELINES = (PERSISTENCE, CLIMATOLOGY)
"""References that need no fit of their own; a model that does not beat them is not promoted."""
DAMPED_PERSISTENCE, LINEAR_3X3, OPTICAL_FLOW = "damped persistence", "linear 3x3", "optical flow"
