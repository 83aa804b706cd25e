"""Distributions of the log-ratio z = log r, under which a gate's effective update ratio is a number."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import sympy
from sympy import Expr, Rational

from sapo_gates.errors import CalibrationError, GateTextError
from sapo_gates.gate import Number, exact

MAX_BINS = 2_000
"""A weight is enclosed at the middle of every bin, for some thirty values of the parameter."""


@dataclass(frozen=True)
class LogRatios:
    """A normal distribution, so that r is log-normal, or a histogram whose bins stand for their middles."""

    mean: Expr = sympy.S.Zero
    std: Expr = sympy.S.Zero
    bins: tuple[tuple[Expr, Expr], ...] = ()

    @staticmethod
    def normal(mean: Number, std: Number) -> "LogRatios":
        """log r of this mean and standard deviation, in nats.

        Raises:
            CalibrationError: std is not a number > 0, or mean is none.
        """
        return LogRatios(finite("log_ratio_mean", mean), positive("log_ratio_std", std, "a standard deviation"))

    @staticmethod
    def histogram(path: str | Path) -> "LogRatios":
        """From a JSON object with `edges` and `counts`, named as numpy.histogram's results.

        Raises:
            CalibrationError: the file cannot be read, or is no histogram.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=str, parse_int=str)
            if len(content["edges"]) > MAX_BINS + 1:
                raise CalibrationError(f"{len(content['edges'])} edges: at most {MAX_BINS} bins are read")
            edges = [finite("edge", edge) for edge in content["edges"]]
            counts = [finite("count", count) for count in content["counts"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, CalibrationError) as error:
            raise CalibrationError(
                f"{path} is no histogram ({error}); give JSON with edges and counts, as numpy.histogram returns them."
            ) from error
        rises = all(low < high for low, high in pairwise(edges))
        total = sum(counts)
        if len(edges) != len(counts) + 1 or not rises or min(counts) < 0 or total <= 0:
            raise CalibrationError(
                f"{path} has {len(edges)} edges and {len(counts)} counts: edges must rise and be one more than the "
                f"counts, which are >= 0 and not all 0; write what numpy.histogram returns."
            )
        middles = [(low + high) / 2 for low, high in pairwise(edges)]
        return LogRatios(
            bins=tuple((middle, count / total) for middle, count in zip(middles, counts, strict=True) if count)
        )


def finite(name: str, number: Number) -> Rational:
    """The number, exactly.

    Raises:
        CalibrationError: it is none.
    """
    try:
        found = exact(number)
    except (TypeError, ValueError, GateTextError):
        found = None
    if found is None or not found.is_finite:
        raise CalibrationError(f"{name}={number} must be a number; try 0.2.")
    return cast(Rational, found)


def positive(name: str, number: Number, what: str) -> Rational:
    """The number, exactly.

    Raises:
        CalibrationError: it is none, or not > 0.
    """
    try:
        found = finite(name, number)
    except CalibrationError:
        found = None
    if found is None or found <= 0:
        raise CalibrationError(f"{name}={number} must be a number > 0: it is {what}; try 0.2.")
    return found
