"""The three answers to a requirement. *Undecided* is never a pass."""

from dataclasses import dataclass
from typing import Literal

Sign = Literal["positive", "negative"]
"""Which advantages a branch of a gate serves: A > 0, or A <= 0."""

SIGNS: tuple[Sign, Sign] = ("positive", "negative")


@dataclass(frozen=True, kw_only=True)
class Witness:
    """An exact place where a requirement fails; rationals as strings, so that anyone can evaluate it by hand.

    kind: `point`: the statement fails at r[0]; `pair`: it fails between r[0] and r[1] (w rises, or a sign changes);
    `jump`: the one-sided limits at r[0] differ; `tail`: phi lies in enclosure[0], which is apart from 0, on [r[0], oo),
    or on (0, r[1]] where r is ("0", r[1]).
    enclosure: for each r of the witness (for `jump`: left, right) an interval that contains the quantity named in why,
    or, where a user's requirement is about a limit (`weight(0)`, `tail order`), that limit.
    """

    kind: Literal["point", "pair", "jump", "tail"]
    r: tuple[str, ...]
    parameters: dict[str, str]
    enclosure: tuple[tuple[str, str], ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Proved:
    """The requirement holds on the whole domain; evidence is what `recheck` evaluates again."""

    method: str
    evidence: dict[str, object]
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Refuted:
    """The requirement fails at the witness."""

    method: str
    witness: Witness
    evidence: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """Neither shown nor refuted; `left` says what remains."""

    method: str
    left: str


Verdict = Proved | Refuted | Undecided
