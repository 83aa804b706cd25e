"""What requirements say: those of the profiles, and those that a user states with a number.

half_width <= h    on each side of 1, inf{d > 0: w(1 +- d) <= 1/2} is at most h
sup score <= c     phi <= c for every r > 0
smoothness >= k    f is C^k, for a whole k from 0 to 8
weight(0) <= c     w(r) -> a limit <= c as r -> 0
tail order >= p    w falls like r^-p up to slower factors, or faster, as r -> oo: d log phi/d log r -> at most 1 - p
pessimistic on S   f(r) A <= r A on the side S of 1, f shifted to f(1) = 1

Where f is declared, w is its derivative between breakpoints, and at one of them either one-sided limit of that; whether
f jumps there is for continuously-differentiable to say, and at r = 1 for unit-peak too: w(1) is a number.
"""

import re
from typing import Any

from sympy import Integer

from sapo_gates.errors import RecheckFailed
from sapo_gates.recheck.boxes import rational, require

ADMISSIBLE = ("continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score")
PROFILES = {
    "admissible": ADMISSIBLE,
    "trust-region": (*ADMISSIBLE, "nonnegative-weight", "bounded-value", "bounded-score", "first-order-agreement"),
}
NUMBER = r"(-?\d{1,400}(?:/\d{1,400})?)"
STATED = re.compile(rf"(half_width|sup score|weight\(0\)) <= {NUMBER}|(smoothness|tail order) >= {NUMBER}", re.ASCII)
PESSIMISTIC = ("pessimistic on kill side", "pessimistic on pass side")


def read(id_: str) -> tuple[str, Any]:
    """What a requirement's name states: its kind and its number, 0 where it has none.

    Raises:
        RecheckFailed: it states nothing.
    """
    if id_ in PROFILES["trust-region"] or id_ in PESSIMISTIC:
        return id_, Integer(0)
    found = STATED.fullmatch(id_)
    if found is None:
        raise RecheckFailed(f"{id_!r} states no requirement")
    kind, number = found[1] or found[3], rational(found[2] or found[4])
    require(kind != "smoothness" or (number.is_Integer and 0 <= number <= 8), "C^{} is not checked", number)
    return kind, number
