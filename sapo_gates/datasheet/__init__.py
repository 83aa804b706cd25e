"""The numbers of a gate: how smooth, how wide, how strong, how its tail falls; each enclosed rigorously.

Enclosures are proved at the given parameter values: suprema by bracketing every stationary point, limits with certain
operations only. A closed form is printed where one is found and its value at these parameters lies in the enclosure; a
quantity without one that scales with tau says so, c*tau or c/tau with c enclosed, and then holds for every tau.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from sapo_gates.datasheet import slopes
from sapo_gates.datasheet.ends import value_at, value_range, value_range_all_reals, weight_at_zero
from sapo_gates.datasheet.shape import log_symmetry, pessimism, scale_family, strictness
from sapo_gates.datasheet.sheet import Entry, Sheet
from sapo_gates.datasheet.smoothness import smoothness
from sapo_gates.datasheet.strength import scores
from sapo_gates.datasheet.tail import tail
from sapo_gates.datasheet.width import half_widths
from sapo_gates.gate import Gate, Number
from sapo_gates.gatefile import load_gate
from sapo_gates.prove.interval import working_precision
from sapo_gates.verdict import SIGNS, Sign

__all__ = ["Entry", "datasheet", "log_curvature", "widths"]


def datasheet(
    gate: str | Path | Gate, positive: Mapping[str, Number] | None = None, negative: Mapping[str, Number] | None = None
) -> dict[Sign, dict[str, Entry]]:
    """Everything worth knowing about a gate as numbers, for each sign of A.

    Args:
        gate: a Gate, a family's name, a gate file or `pkg.module:NAME`.
        positive: parameter values where A > 0; those not named have their trained value.
        negative: the same where A <= 0.

    Returns:
        For each sign a table of entries; an entry has `closed_form` (text or None), `at` (the parameter values),
        `enclosure` (two decimal texts around the number, or None where there is no number) and, where words are needed,
        `says`.

    Raises:
        UnknownGate, GateTextError: the gate cannot be read.
        UnknownParameter, ParameterValueError: a value is for no parameter, or outside its domain.
    """
    loaded = load_gate(gate)
    with working_precision():
        return {
            sign: _entries(Sheet.of(loaded, sign, numbers or {}))
            for sign, numbers in zip(SIGNS, (positive, negative), strict=True)
        }


def widths(gate: Gate) -> dict[Sign, dict[str, Entry]]:
    """The datasheet's half-widths alone, at the trained values; they take a few milliseconds."""
    with working_precision():
        return {sign: _widths(Sheet.of(gate, sign, {})) for sign in SIGNS}


def _widths(sheet: Sheet) -> dict[str, Entry]:
    return sheet.answers(WIDTHS, lambda: half_widths(sheet))


def log_curvature(
    gate: Gate, positive: Mapping[str, Number] | None = None, negative: Mapping[str, Number] | None = None
) -> dict[Sign, float]:
    """An upper bound of sup |g''|, g(z) = w(e^z), for each sign of A; infinite where g' jumps or nothing is proved."""
    found: dict[Sign, float] = {}
    with working_precision():
        for sign, numbers in zip(SIGNS, (positive, negative), strict=True):
            sheet = Sheet.of(gate, sign, numbers or {})
            enclosure = sheet.answer(lambda: slopes.log_curvature(sheet))["enclosure"]  # noqa: B023 - called at once
            # the texts enclose; the next float above the upper one still does
            found[sign] = math.nextafter(float(enclosure[1]), math.inf) if enclosure else math.inf
    return found


WIDTHS = ("half_width_left", "half_width_right", "half_width_left_log", "half_width_right_log")
SCORES = ("score_supremum", "score_supremum_at")
AROUND_ONE = ("curvature", "kappa", "surrogate_gap")


def _entries(sheet: Sheet) -> dict[str, Entry]:
    """All entries in reading order."""
    return {
        "smoothness": sheet.answer(lambda: smoothness(sheet)),
        **_widths(sheet),
        "weight_at_zero": sheet.answer(lambda: weight_at_zero(sheet)),
        "value_at_zero": sheet.answer(lambda: value_at(sheet, "lower")),
        "value_at_infinity": sheet.answer(lambda: value_at(sheet, "upper")),
        "value_range": sheet.answer(lambda: value_range(sheet)),
        "value_range_all_reals": sheet.answer(lambda: value_range_all_reals(sheet)),
        **sheet.answers(SCORES, lambda: scores(sheet)),
        "tail": sheet.answer(lambda: tail(sheet)),
        "weight_lipschitz": sheet.answer(lambda: slopes.weight_lipschitz(sheet)),
        **sheet.answers(AROUND_ONE, lambda: slopes.around_one(sheet)),
        "strictness": sheet.answer(lambda: strictness(sheet)),
        "pessimism_kill_side": sheet.answer(lambda: pessimism(sheet, kill=True)),
        "pessimism_pass_side": sheet.answer(lambda: pessimism(sheet, kill=False)),
        "log_symmetry": sheet.answer(lambda: log_symmetry(sheet)),
        "scale_family": sheet.answer(lambda: scale_family(sheet)),
        "log_curvature": sheet.answer(lambda: slopes.log_curvature(sheet)),
    }
