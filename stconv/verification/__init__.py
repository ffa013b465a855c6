"""Scores per lead beside baselines, their intervals, a verdict in words, and pictures."""

from stconv.verification.scores.labels import lead_labels
from stconv.verification.scores.result import Verification
from stconv.verification.scores.sums import ScoreSums

__all__ = ["ScoreSums", "Verification", "lead_labels"]
