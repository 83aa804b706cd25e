"""Rewards: mathematical equivalence, the paper's format reward, and the user's own functions."""

from sapo_train.rewards.equivalence import math_equivalence
from sapo_train.rewards.text import extract_answer, think_answer_format

__all__ = ["extract_answer", "math_equivalence", "think_answer_format"]
