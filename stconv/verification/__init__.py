"""Scores per lead beside baselines, their intervals, a verdict in words, and pictures."""

from stconv.verification.labels import lead_labels
from stconv.verification.result import Verification
from stconv.verification.sums import ScoreSums

__all__ = ["ScoreSums", "Verification", "lead_labels"]
