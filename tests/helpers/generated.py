"""Gates whose truth is known because of how they are made, one for every seed.

Admissible: profiles, functions of u that are 1 at u = 0 and fall to both sides of it, at u = tau (r - 1), u = tau log r
and the like, combined in ways that keep that. Planted: an admissible gate and one violation of a known requirement,
with a place where it fails.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal, cast

import sympy
from judge import Unjudged, fails
from sympy import (
    Abs,
    Dummy,
    Expr,
    Integer,
    Max,
    Min,
    Piecewise,
    Rational,
    atan,
    cos,
    erf,
    exp,
    log,
    oo,
    pi,
    sech,
    sin,
    sinh,
    sqrt,
    tanh,
)
from sympy import sign as signum

from sapo_gates import Gate, Parameter
from sapo_gates.combine import mixture, per_sign, reparametrised, shifted
from sapo_gates.families import FAMILIES
from sapo_gates.functions import r, sigmoid, z
from sapo_gates.gate import Domain
from sapo_gates.verdict import SIGNS, Sign, Witness

x = r - 1
ONE, ZERO = Integer(1), Integer(0)
CONTINUOUS, PEAK, DECAY, VANISHING = "continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score"
NONNEGATIVE, VALUE, SCORE, FIRST = "nonnegative-weight", "bounded-value", "bounded-score", "first-order-agreement"


@dataclass(frozen=True)
class Profile:
    """A weight in u that is 1 at 0, falls to both sides and is never negative.

    order: it falls at least like |u|^-order, oo where faster than every power. rate: it falls at least like
    exp(-rate |u|), but for powers of u; 0 where only like a power. primitive: its integral from 0, where that is short.
    """

    weight: Callable[[Expr], Expr]
    order: Expr
    rate: Expr = ZERO
    primitive: Callable[[Expr], Expr] | None = None


def _inside(weight: Callable[[Expr], Expr], primitive: Callable[[Expr], Expr] | None = None) -> Profile:
    """A weight that is 0 beyond |u| = 1."""
    inside = None if primitive is None else _clipped(primitive)
    return Profile(lambda u: Piecewise((weight(u), Abs(u) < 1), (ZERO, True)), oo, oo, inside)


def _clipped(primitive: Callable[[Expr], Expr]) -> Callable[[Expr], Expr]:
    return lambda u: Piecewise((primitive(u), Abs(u) < 1), (primitive(ONE) * signum(u), True))


PROFILES = (
    Profile(lambda u: sech(u / 2) ** 2, oo, ONE, lambda u: 4 * sigmoid(u) - 2),
    Profile(lambda u: sech(u) ** 2, oo, Integer(2), tanh),
    Profile(lambda u: exp(-(u**2) / 2), oo, oo, lambda u: sqrt(pi / 2) * erf(u / sqrt(2))),
    Profile(lambda u: 1 / (1 + u**2), Integer(2), ZERO, atan),
    Profile(lambda u: (1 + u**2) ** Rational(-3, 2), Integer(3), ZERO, lambda u: u / sqrt(1 + u**2)),
    Profile(lambda u: (1 + Abs(u)) ** -2, Integer(2), ZERO, lambda u: u / (1 + Abs(u))),
    Profile(lambda u: (1 + Abs(u)) ** -3, Integer(3)),
    Profile(lambda u: sech(u), oo, ONE, lambda u: 2 * atan(tanh(u / 2))),
    Profile(lambda u: exp(-Abs(u)), oo, ONE, lambda u: signum(u) * (1 - exp(-Abs(u)))),
    Profile(lambda u: exp(-(Abs(u) ** Rational(3, 2))), oo, oo),
    Profile(lambda u: exp(-(u**4)), oo, oo),
    Profile(lambda u: exp(1 - u - exp(-u)), oo, ONE, lambda u: exp(1 - exp(-u)) - 1),
    Profile(lambda u: (1 - exp(-(u**2))) / u**2, Integer(2)),
    Profile(lambda u: u / sinh(u), oo, ONE),
    Profile(lambda u: (tanh(u) / u) ** 2, Integer(2)),
    _inside(lambda u: exp(1 - 1 / (1 - u**2))),
    _inside(lambda u: (1 + cos(pi * u)) / 2, lambda u: (u + sin(pi * u) / pi) / 2),
    _inside(lambda u: (1 - u**2) ** 2, lambda u: u - 2 * u**3 / 3 + u**5 / 5),
    _inside(lambda u: (1 - Abs(u) ** 3) ** 3),
    Profile(lambda u: Max(0, 1 - Abs(u)), oo, oo),
    # of order at most 1, so not admissible alone
    Profile(lambda u: 1 / (1 + Abs(u)), ONE),
    Profile(lambda u: 1 / sqrt(1 + u**2), ONE),
    Profile(lambda u: tanh(u) / u, ONE),
    Profile(lambda u: 1 / (1 + log(1 + u**2)), ZERO),
)  # fmt: skip


@dataclass(frozen=True)
class Bump:
    """A weight in r that is 1 at r = 1, falls to both sides and is never negative: all of admissible but for its tail.

    orders: for every part that may outlast the others, a k with w = O(r^-k). value: an f with f' = w, if there is one.
    """

    weight: Expr
    orders: frozenset[Expr]
    value: Expr | None = None

    @property
    def vanishes(self) -> bool:
        """Whether r w -> 0 for every value of the parameters."""
        return all(_is_above_one(order) for order in self.orders)


def _is_above_one(order: Expr) -> bool:
    """For all parameters; orders grow with them."""
    lowest = {
        p: p.domain.lower + (Dummy(positive=True) if p.domain.lower_open else Dummy(nonnegative=True))
        for p in order.atoms(Parameter)
    }
    return bool(sympy.expand(order.xreplace(lowest) - 1).is_extended_positive)


@dataclass
class Maker:
    """Draws bumps; remembers the parameters it has named."""

    random: Random
    parameters: list[Parameter] = field(default_factory=list)
    temperatures: list[Expr] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.style = self.random.choices(["numbers", "one temperature", "several parameters"], [5, 3, 2])[0]

    def number(self, low: float, high: float, digits: int = 2) -> Rational:
        """Evenly spread in its logarithm."""
        lows, highs = (float(sympy.log(Rational(str(end)), 10)) for end in (low, high))
        return Rational(f"{10 ** self.random.uniform(lows, highs):.{digits}g}")

    def parameter(self, name: str, *domains: str) -> Parameter:
        """A new parameter."""
        domain = self.random.choice(domains)
        low, high = Domain.parse(domain).lower, Domain.parse(domain).upper
        inside = (low + 1, low + 3) if high == oo else ((2 * low + high) / 3, (low + 2 * high) / 3)
        self.parameters.append(Parameter(name, domain, *map(str, inside)))
        return self.parameters[-1]

    def temperature(self) -> Expr:
        """A number, a multiple of the one temperature, or a parameter of its own."""
        if self.style == "numbers" or (self.style == "several parameters" and len(self.parameters) > 1):
            return self.number(0.05, 1000)
        if self.style == "one temperature" and self.temperatures:
            return self.temperatures[0] * self.random.choice([ONE, ONE, Integer(2), Rational(1, 2), Integer(5)])
        self.temperatures.append(
            self.named_temperature("tau" if self.style == "one temperature" else "abc"[len(self.parameters)])
        )
        return self.temperatures[-1]

    def named_temperature(self, name: str) -> Expr:
        """A parameter, or a positive function of one."""
        positive = ("(0, oo)", "(0, oo)", "(0, oo)", "[1/20, 20]", "(0, 5]", "[2, oo)", "(1/2, 50)")
        match self.random.choices(["itself", "width", "power", "exponential"], [7, 1, 1, 1])[0]:
            case "width":
                return 1 / self.parameter(name.replace("tau", "sigma"), *positive)
            case "power":
                return self.parameter(name, *positive) ** self.random.choice([2, Rational(1, 2)])
            case "exponential":
                return exp(self.parameter(name, "[0, 5]", "[-3, 3]", "[0, oo)"))
            case _:
                return self.parameter(name, *positive)

    def single(self) -> Bump:
        """One profile at one temperature."""
        if self.style == "several parameters" and len(self.parameters) < 2 and self.random.random() < 0.3:
            return self.shaped()
        profile, tau = self.random.choice(PROFILES), self.temperature()
        match self.random.choices(
            ["linear", "log", "sides", "square", "root", "cubic", "symmetric"], [12, 3, 2] + 4 * [1]
        )[0]:
            case "log":
                return Bump(profile.weight(tau * z), frozenset([profile.rate * tau]))
            case "sides":
                u = tau * Min(x, 0) + self.temperature() * Max(x, 0)
                return Bump(profile.weight(u), frozenset([profile.order]))
            case "square":
                return Bump(profile.weight(tau * (r**2 - 1)), frozenset([2 * profile.order]))
            case "root":
                return Bump(profile.weight(tau * (sqrt(r) - 1)), frozenset([profile.order / 2]))
            case "cubic":
                return Bump(profile.weight(tau * (x + x**3)), frozenset([3 * profile.order]))
            case "symmetric":
                return Bump(profile.weight(tau * (r - 1 / r)), frozenset([profile.order]))
            case _:
                f = None if profile.primitive is None else profile.primitive(tau * x) / tau
                return Bump(profile.weight(tau * x), frozenset([profile.order]), f)

    def shaped(self) -> Bump:
        """A profile with a parameter for its shape."""
        u, shape = self.temperature() * x, self.random.choice(["student", "power", "generalised", "gamma", "sech"])
        q = self.parameter("q", "(0, oo)", "[1/2, 8]", "(1, oo)")
        match shape:
            case "student":
                return Bump((1 + u**2 / q) ** (-(q + 1) / 2), frozenset([q + 1]))
            case "power":
                return Bump((1 + u**2) ** (-(1 + q) / 2), frozenset([1 + q]))
            case "generalised":
                return Bump(exp(-(Abs(u) ** q)), frozenset([oo]))
            case "gamma":
                return Bump(r**q * exp(q * (1 - r)), frozenset([oo]))
            case _:
                return Bump((2 * r / (1 + r**2)) ** (1 + q), frozenset([1 + q]))

    def bump(self, depth: int = 2) -> Bump:
        """A profile, or a combination of bumps of less depth."""
        if depth == 0 or self.random.random() < (2 - depth) * 0.7:
            return self.single()
        if self.random.random() < 0.22:
            return self.single()
        if self.random.random() < 0.36:
            return self.mixture(depth - 1)
        one = self.bump(depth - 1)
        if self.random.random() < 0.3:
            return self.function_of(one)
        other = self.bump(depth - 1)
        match self.random.choices(["product", "sides", "least", "greatest"], [2, 2, 1, 1])[0]:
            case "product":
                return Bump(one.weight * other.weight, frozenset(a + b for a in one.orders for b in other.orders))
            case "sides":
                return Bump(Piecewise((one.weight, r < 1), (other.weight, True)), other.orders)
            case "least":
                orders = frozenset(Max(a, b) for a in one.orders for b in other.orders)
                return Bump(Min(one.weight, other.weight), orders)
            case _:
                return Bump(Max(one.weight, other.weight), one.orders | other.orders)

    def mixture(self, depth: int) -> Bump:
        """Convex, with fixed shares or a parameter."""
        if self.style == "several parameters" and len(self.parameters) < 2 and self.random.random() < 0.5:
            p = self.parameter("p", "[0, 1]", "(0, 1)", "[1/10, 9/10]")
            shares = [p, 1 - p]
        else:
            whole = [self.random.randint(1, 5) for _ in range(self.random.choice([2, 2, 3]))]
            shares = [Rational(share, sum(whole)) for share in whole]
        parts = [self.bump(depth) for _ in shares]
        values = [part.value for part in parts if part.value is not None]
        return Bump(
            _sum(shares, [part.weight for part in parts]),
            frozenset().union(*(part.orders for part in parts)),
            _sum(shares, values) if len(values) == len(parts) else None,
        )

    def function_of(self, bump: Bump) -> Bump:
        """An increasing function of a bump that keeps 0 and 1."""
        w = bump.weight
        match self.random.choices(["power", "homographic", "smoothstep", "sine"], [6, 1, 1, 1])[0]:
            case "power":
                k = self.random.choice([Rational(1, 3), Rational(1, 2), Rational(3, 2), Integer(2), Integer(3)])
                return Bump(w**k, frozenset(k * order for order in bump.orders))
            case "homographic":
                return Bump(2 * w / (1 + w), bump.orders)
            case "smoothstep":
                return Bump(w**2 * (3 - 2 * w), frozenset(2 * order for order in bump.orders))
            case _:
                return Bump(sin(pi * w / 2), bump.orders)


def _sum(shares: list[Expr], parts: list[Expr]) -> Expr:
    return cast(Expr, sympy.Add(*(share * part for share, part in zip(shares, parts, strict=True))))


def _bumps(random: Random) -> Iterator[tuple[Bump, Maker]]:
    while True:
        maker = Maker(random)
        yield maker.bump(), maker


def _admissible_bump(random: Random) -> tuple[Bump, Maker]:
    return next((bump, maker) for bump, maker in _bumps(random) if bump.vanishes)


def _declared(random: Random, bump: Bump) -> tuple[str, Expr]:
    """By weight, by score weight, or by value where there is one, shifted by some constant."""
    kinds = ["weight", "weight", "weight", "score"] + (4 * ["value"] if bump.value is not None else [])
    match random.choice(kinds):
        case "score":
            return "score", r * bump.weight
        case "value" if bump.value is not None:
            return "value", bump.value + random.choice([ZERO, ONE, Rational(1, 3)])
        case _:
            return "weight", bump.weight


def _gate(name: str, kind: str, formula: Expr | tuple[Expr, Expr], parameters: list[Parameter]) -> Gate:
    branches = formula if isinstance(formula, tuple) else (formula,)
    used = tuple(p for p in parameters if any(p in branch.free_symbols for branch in branches))
    return Gate(name=name, parameters=used, **{kind: formula})  # pyright: ignore[reportArgumentType]


def admissible(seed: int) -> Gate:
    """A gate that satisfies both profiles."""
    random = Random(f"admissible {seed}")
    bump, maker = _admissible_bump(random)
    if random.random() < 0.2:  # another for A <= 0, with the same parameters
        other = next(b for b in iter(maker.bump, None) if b.vanishes)
        return _gate(f"admissible-{seed}", "weight", (bump.weight, other.weight), maker.parameters)
    return _gate(f"admissible-{seed}", *_declared(random, bump), maker.parameters)


ADMISSIBLE_FAMILIES = tuple(
    family
    for family in FAMILIES
    if family.name
    in {
        "sigmoid", "erf", "arctan", "softsign", "softsign-abs", "tanh", "gaussian-cdf", "student-t",
        "generalised-normal", "log-normal", "compact-bump", "raised-cosine", "tukey-biweight", "scad", "welsch",
    }
)  # fmt: skip


def combined(seed: int) -> Gate:
    """Admissible families of the library, put together by its combinators."""
    random = Random(f"combined {seed}")
    return replace(_combination(random, random.choice([1, 1, 2])), name=f"combined-{seed}")


def _combination(random: Random, depth: int) -> Gate:
    """A family at numbers, on a part of its domain or on all of it; or a combination of combinations."""
    if depth == 0:
        return _on_a_domain(random, random.choice(ADMISSIBLE_FAMILIES))
    inner = _combination(random, depth - 1)
    match random.choices(["mixture", "pair", "shifted", "reparametrised"], [5, 3, 1, 2])[0]:
        case "mixture":
            gates = [inner, *(_combination(random, depth - 1) for _ in range(random.choice([1, 1, 2])))]
            whole = [random.randint(1, 9) for _ in gates]
            return mixture(gates, [Rational(share, sum(whole)) for share in whole])
        case "pair":
            return per_sign(inner, _combination(random, depth - 1))
        case "shifted" if inner.kind == "value":
            return shifted(inner)
        case _:
            return _renamed_parameter(random, inner)


DOMAINS = ("[1/20, 20]", "(0, 5]", "[2, oo)", "(1/2, 50)", "[10, 12]")


def _on_a_domain(random: Random, family: Gate) -> Gate:
    """The family at a number for the temperature, on a part of its domain, or as it is."""
    maker, choice = Maker(random), random.choice(["number", "part", "whole"])
    tau = family.parameters[0]
    if choice == "whole":
        return family
    if choice == "number":
        likely = {"nu": (0.3, 30), "p": (0.3, 8), "a": (1.1, 20)}
        numbers = {p.name: maker.number(*likely.get(p.name, (0.05, 1000))) for p in family.parameters}
        return family.bind(numbers if random.random() < 0.7 else {tau.name: numbers[tau.name]})
    part = maker.parameter("tau", *DOMAINS)
    return reparametrised(family, {tau.name: part}, [part])


def _renamed_parameter(random: Random, gate: Gate) -> Gate:
    """One parameter as a function of a new one."""
    if not gate.parameters:
        return gate
    old, name = (
        random.choice(gate.parameters),
        next(n for n in ("s", "s2", "s3") if n not in {p.name for p in gate.parameters}),
    )
    low, high = old.domain.lower, old.domain.upper
    if high != oo:
        share = Parameter(name, "(0, 1)" if old.domain.lower_open or old.domain.upper_open else "[0, 1]", "1/2", "1/2")
        return reparametrised(gate, {old.name: low + (high - low) * share}, [share])
    beyond = Parameter(name, "(0, oo)" if old.domain.lower_open else "[0, oo)", "1/2", "1/2")
    image = random.choice([1 / beyond, beyond**2, sqrt(beyond)]) if old.domain.lower_open else beyond
    return reparametrised(gate, {old.name: low + image}, [beyond])


@dataclass(frozen=True)
class Flaw:
    """What is done to a bump.

    formula: the flawed weight, or value. known: where it shows, as kind and ratios of a witness. where: an interval in
    which one of the ratios of every witness against the requirement lies.
    """

    requirement: str
    formula: Expr
    known: tuple[Literal["point", "pair", "jump", "tail"], tuple[Expr, ...]]
    where: tuple[Expr, Expr]
    is_value: bool = False


@dataclass(frozen=True)
class Planted:
    """A gate with one violation.

    known: a witness. where: an interval in which one of the ratios of every witness against the requirement lies.
    corner: a parameter and the number above which there is a violation.
    """

    gate: Gate
    case: str
    sign: Sign
    requirement: str
    known: Witness
    where: tuple[Expr, Expr]
    corner: tuple[str, Rational] | None

    def explains(self, witness: Witness) -> bool:
        """Whether a witness against the requirement lies where the violation is."""
        low, high = self.where
        in_corner = self.corner is None or Rational(witness.parameters[self.corner[0]]) > self.corner[1]
        return in_corner and any(low <= Rational(ratio) <= high for ratio in witness.r)


def _outside(c: Rational) -> Any:
    """Farther from 1 than c."""
    return r > c if c > 1 else r < c


def _beside(c: Rational) -> tuple[Expr, Expr]:
    """The side of 1 on which c lies."""
    return (ONE, oo) if c > 1 else (ZERO, ONE)


def _needle(maker: Maker, c: Rational, width: Rational) -> tuple[Expr, tuple[Expr, Expr]]:
    """1 at c, and where it is what it is because of that."""
    u = (r - c) / width
    if maker.random.random() < 0.5:
        return exp(-(u**2)), _beside(c)
    return Piecewise(((1 - u**2) ** 2, Abs(u) < 1), (ZERO, True)), (c - width, c + width)


def _place(maker: Maker) -> tuple[Rational, Rational]:
    """A ratio other than 1, and a width that fits beside it."""
    while True:
        c, width = maker.number(1e-3, 1e6, 3), maker.number(1e-9, 0.1, 1)
        if width < c / 2 and width < abs(c - 1) / 2:
            return c, width


def _rising(c: Rational, width: Rational) -> tuple[Literal["pair"], tuple[Expr, Expr]]:
    """From the foot of a needle to its point."""
    return "pair", (c - width, c) if c > 1 else (c, c + width)


def needle(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A second, small peak."""
    c, width = _place(maker)
    added, where = _needle(maker, c, width)
    return Flaw(DECAY, bump.weight + size * added, _rising(c, width), where)


def notch(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A dip, behind which w rises."""
    c, width = _place(maker)
    taken, where = _needle(maker, c, width)
    low, high = (c, c + width) if c > 1 else (c - width, c)
    return Flaw(DECAY, bump.weight * (1 - size * taken), ("pair", (low, high)), where)


def step(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A jump upwards, away from 1."""
    c, _ = _place(maker)
    formula = bump.weight + Piecewise((size, _outside(c)), (ZERO, True))
    return Flaw(maker.random.choice([CONTINUOUS, DECAY]), formula, ("jump", (c,)), (c, c))


def drop(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A jump downwards, which breaks nothing but continuity."""
    c, _ = _place(maker)
    formula = Piecewise(((1 - size) * bump.weight, _outside(c)), (bump.weight, True))
    return Flaw(CONTINUOUS, formula, ("jump", (c,)), (c, c))


def level(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A peak below 1, or above, and then what is around it too."""
    sign = maker.random.choice([1, -1])
    where = (ZERO, oo) if sign > 0 else (ONE, ONE)
    return Flaw(PEAK, bump.weight * (1 + sign * size), ("point", (ONE,)), where)


def off_centre(maker: Maker, bump: Bump, _: Expr) -> Flaw:
    """The peak is beside 1."""
    by = 1 + maker.random.choice([1, -1]) * maker.number(1e-9, 0.5, 1)
    return Flaw(PEAK, bump.weight.subs({r: by * r, z: z + log(by)}, simultaneous=True), ("point", (ONE,)), (ZERO, oo))


def tilt(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """w goes on rising at 1."""
    width = maker.number(1e-9, 0.1, 1)
    near = 1 + width * Rational(1, 10 ** maker.random.randint(1, 12))
    return Flaw(PEAK, bump.weight * (1 + size * tanh(x / width)), ("point", (near,)), (ONE, oo))


def tail(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A share that does not fall faster than 1/r."""
    u = maker.number(0.05, 1000) * x
    heavy = maker.random.choice([ONE, *(profile.weight(u) for profile in PROFILES if profile.order <= 1)])
    return Flaw(VANISHING, (1 - size) * bump.weight + size * heavy, ("tail", (Integer(10) ** 40,)), (ZERO, oo))


def negative(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """Below 0 near a place."""
    c, width = _place(maker)
    taken, where = _needle(maker, c, width)
    return Flaw(NONNEGATIVE, bump.weight - size * taken, ("point", (c,)), where if where[0] > 1 else (ZERO, oo))


def overshoot(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """Below 0 from a distance on."""
    c = 1 + maker.number(1e-3, 1e6)
    formula = bump.weight * (1 - size * Max(0, (r - c) / (c - 1)))
    return Flaw(NONNEGATIVE, formula, ("point", (c + (c - 1) * 10**13,)), (c, oo))


def ripple(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """An oscillation, against which the fall is too slow somewhere."""
    k = maker.number(0.1, 1e6)
    n = 10 ** maker.random.randint(0, 12)
    low = 1 + Rational(sympy.N(n * pi / k, 30))
    high = 1 + Rational(sympy.N((n + Rational(1, 2)) * pi / k, 30))
    return Flaw(DECAY, bump.weight * (1 + size * sin(k * x) ** 2), ("pair", (low, high)), (ZERO, oo))


def pole(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A place where w is not defined."""
    c, width = _place(maker)
    return Flaw(CONTINUOUS, bump.weight + size * width / (r - c), ("point", (c,)), (c - width, c + width))


def kink(maker: Maker, bump: Bump, size: Expr) -> Flaw:
    """A corner, or a jump, of the value."""
    c, _ = _place(maker)
    assert bump.value is not None
    added = maker.random.choice([size * Max(0, r - c), Piecewise((size, r > c), (ZERO, True))])
    return Flaw(CONTINUOUS, bump.value + added, ("jump", (c,)), (c, c), is_value=True)


FLAWS = (needle, notch, step, drop, level, off_centre, tilt, tail, negative, overshoot, ripple, pole, kink)


def planted(seed: int) -> Planted:
    """A gate that certainly breaks one requirement: the judge says so of a known place."""
    flaw = FLAWS[seed % len(FLAWS)]
    random = Random(f"planted {seed}")
    return next(made for made in iter(lambda: _plant(f"planted-{seed}", flaw, random), 0) if made is not None)


def _plant(name: str, make: Callable[[Maker, Bump, Expr], Flaw], random: Random) -> Planted | None:
    """One try: a violation may be too small for the bump that it was planted into."""
    bump, maker = _admissible_bump(random)
    if make is kink and bump.value is None:
        return None
    size, corner = maker.number(1e-12, 0.3, 1), None
    if random.random() < 0.15:
        onset = Rational(random.randint(500, 999), 100)
        corner = (Parameter("s", "[0, 10]", "1", "1"), onset)
        size *= Max(0, corner[0] - onset) / (10 - onset)
        maker.parameters.append(corner[0])
    flaw = make(maker, bump, size)
    if corner is not None and corner[0] not in flaw.formula.free_symbols:
        corner = None
    sign, declared = random.choice(SIGNS), ("value" if flaw.is_value else "weight", flaw.formula)
    if not flaw.is_value and random.random() < 0.25:
        pair = (flaw.formula, bump.weight) if sign == "positive" else (bump.weight, flaw.formula)
        gate = _gate(name, "weight", pair, maker.parameters)
    else:
        gate = _gate(name, *declared, maker.parameters)
    kind, ratios = flaw.known
    values = {p.name: str(p.value_for(sign)) for p in gate.parameters} | ({} if corner is None else {"s": "10"})
    known = Witness(kind=kind, r=tuple(map(str, ratios)), parameters=values, enclosure=(), why="planted")
    with suppress(Unjudged):
        if fails(gate, sign, flaw.requirement, known):
            place = None if corner is None else (corner[0].name, corner[1])
            return Planted(gate, make.__name__, sign, flaw.requirement, known, flaw.where, place)
    return None
