"""Gates whose truth is known by hand, each against every requirement it was chosen for."""

import hashlib
import json
from dataclasses import dataclass, field

import pytest
import sympy
from sympy import Rational

from sapo_gates import Domain, Gate, Parameter, certify
from sapo_gates.certificate import Certificate, Requirement
from sapo_gates.errors import RecheckFailed
from sapo_gates.expression import parse_expression
from sapo_gates.recheck import recheck
from sapo_gates.verdict import SIGNS

C1, PEAK, DECAY, VANISHING = "continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score"
NONNEGATIVE, VALUE, SCORE, FIRST = "nonnegative-weight", "bounded-value", "bounded-score", "first-order-agreement"
ADMISSIBLE = (C1, PEAK, DECAY, VANISHING)
TRUST_REGION = (*ADMISSIBLE, NONNEGATIVE, VALUE, SCORE, FIRST)


@dataclass(frozen=True)
class Known:
    """A gate and what fails of it, with the ratios among which a witness must lie; everything else is proved."""

    name: str
    gate: Gate
    fails: tuple[str, ...] = ()
    where: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Formula:
    """Texts of one declaration and the domains of its parameters."""

    kind: str
    text: str | tuple[str, str]
    domains: dict[str, str] = field(default_factory=lambda: {"tau": "(0, oo)"})


def trained_in(domain: str) -> tuple[str, str]:
    inside = next(number for number in ("2", "1/2") if Rational(number) in Domain.parse(domain))
    return inside, inside


def gate(name: str, formula: Formula) -> Gate:
    parameters = {p: Parameter(p, domain, *trained_in(domain)) for p, domain in formula.domains.items()}
    texts = formula.text if isinstance(formula.text, tuple) else (formula.text,)
    parsed = tuple(parse_expression(text, parameters) for text in texts)
    used = tuple(p for p in parameters.values() if any(p in e.free_symbols for e in parsed))
    declared = {formula.kind: parsed if len(parsed) == 2 else parsed[0]}
    return Gate(name=name, parameters=used, **declared)  # pyright: ignore[reportArgumentType]


Fails = tuple[str, ...] | dict[str, tuple[str, str]]
"""What fails, where it is of interest with the ratios between which a witness must lie."""


def known(name: str, kind: str, text: str | tuple[str, str], fails: Fails = (), **domains: str) -> Known:
    formula = Formula(kind, text, domains) if domains else Formula(kind, text)
    return Known(name, gate(name, formula), tuple(fails), fails if isinstance(fails, dict) else {})


ANY, BELOW, ABOVE, ONE = ("0", "1e99"), ("0", "1"), ("1", "1e99"), ("1", "1")


U = "(tau*(r - 1))"
ADMITTED = [
    known("sigmoid", "value", "4/tau*sigmoid(tau*(r - 1))"),
    known("sigmoid by its weight", "weight", f"sech({U}/2)^2"),
    known("sigmoid by its score weight", "score", f"r*sech({U}/2)^2"),
    known("sigmoid on a box", "value", "4/tau*sigmoid(tau*(r - 1))", tau="[1/20, 20]"),
    known("erf", "value", "1 + sqrt(pi/2)/tau*erf(tau*(r - 1)/sqrt(2))"),
    known("arctan", "value", "1 + atan(tau*(r - 1))/tau"),
    known("arctan bound to numbers", "value", "1 + atan(10*(r - 1))/10"),
    known("arctan in z", "value", "1 + atan(tau*(exp(z) - 1))/tau"),
    known("softsign", "value", "1 + (r - 1)/sqrt(1 + tau^2*(r - 1)^2)"),
    known("softsign-abs", "value", "1 + (r - 1)/(1 + tau*Abs(r - 1))"),
    known("an exponent of many digits", "weight", f"(1 + {U}^2)^(-1.00005)"),
    known("2 tau to the left, tau to the right", "weight", f"Piecewise((sech({U})^2, r < 1), (sech({U}/2)^2, True))"),
    known("student-t", "weight", f"(1 + {U}^2/nu)^(-(nu + 1)/2)", tau="(0, oo)", nu="(0, oo)"),
    known("generalised normal", "weight", "exp(-(tau*Abs(r - 1))^p)", tau="(0, oo)", p="(0, oo)"),
    known("generalised normal among others", "weight", f"exp(-{U}^2/2)/3 + 2*exp(-(a*Abs(r - 1))^p)/3",
          tau="[2, oo)", a="(0, oo)", p="(0, oo)"),
    known("log-normal", "weight", "exp(-tau^2*z^2/2)"),
    known("log-sech for tau > 1", "weight", "sech(tau*z/2)^2", tau="(1, oo)"),
    known("compact bump", "weight", f"Piecewise((exp(1 - 1/(1 - {U}^2)), Abs{U} < 1), (0, True))"),
    known("raised cosine", "weight", f"Piecewise(((1 + cos(pi*{U}))/2, Abs{U} < 1), (0, True))"),
    known("biweight", "weight", f"Piecewise(((1 - {U}^2)^2, Abs{U} < 1), (0, True))"),
    known("mixture of two families", "weight", f"p*sech({U}/2)^2 + (1 - p)/(1 + {U}^2)", tau="(0, oo)", p="[0, 1]"),
    known("mixture of fixed shares", "weight", f"exp(-{U}^2/2)/3 + 2/3*(1 + {U}^2)^(-3/2)"),
    known("mixture of temperatures", "weight", "sech(a*(r - 1))^2/2 + sech(b*(r - 1))^2/2", a="(0, oo)", b="[1, 5]"),
    known("a hole at 1", "weight", f"(1 - exp(-{U}^2))/{U}^2"),
    known("a hole at 1 at one temperature", "weight", "(1 - exp(-(14*(r - 1))^2))/(14*(r - 1))^2"),
    known("holes in a mixture", "weight", "(1 - exp(-(14*(r - 1))^2))/(14*(r - 1))^2/2 + 1/(2*(1 + (3*r - 3)^2))"),
    known("a hole and a cosine", "weight", "3/5*(20*r - 20)/sinh(20*r - 20) + "
          "2/5*Piecewise(((1 + cos(5*pi*(r - 1)))/2, Abs(5*r - 5) < 1), (0, True))"),
    known("softsign by value and a narrow bell", "value", "(r - 1)/(2 + 2*Abs(r - 1)) + sqrt(pi)*erf(29*(r - 1))/116"),
    known("a hole mixed with a bump", "weight", f"(1 - exp(-{U}^2))/(2*{U}^2) + "
          f"Piecewise((exp(1 - 1/(1 - {U}^2))/2, Abs{U} < 1), (0, True))"),
    known("a hole times a cosine", "weight", "(1 - exp(-(7*r - 7)^2))/(7*r - 7)^2*"
          "Piecewise(((1 + cos(pi*(r - 1)))/2, Abs(r - 1) < 1), (0, True))"),
    known("a hole times a bell of another shape", "weight", "sech(r - 1 + (r - 1)^3)^2*(7*r - 7)/sinh(7*r - 7)"),
    known("a hole and a triangle", "weight", "(1 - exp(-(7*r - 7)^2))/(3*(7*r - 7)^2) + 2/3*Max(0, 1 - Abs(4*r - 4))"),
    known("a hole times a corner of order 3/2", "weight",
          "(1 - exp(-(29*r - 29)^2))/(29*r - 29)^2*exp(-(5*Abs(r - 1))^(3/2))"),
    known("a compact weight that reaches r = 0 for small tau, mixed", "weight",
          f"Piecewise(((1 - {U}^2)^2/4, Abs{U} < 1), (0, True)) + 3/4*exp(-(r - 1)^2/600)"),
    known("the square of a hole", "weight", f"(tanh({U})/{U})^2"),
    known("a power of a hole", "weight", f"({U}/sinh({U}))^(3/2)"),
    known("a hole at 1 over a sine", "weight", f"{U}/sinh({U})"),
    known("a hole that cancels", "value", "1 + (r^2 - 4)/(r - 2)*atan(r - 1)/(r + 2)"),
    known("a ceiling that is not reached", "value", "Min(1 + 4*(sigmoid(r - 1) - 1/2), 4)"),
    known("Huber's weight, squared", "weight", "Min(1, (tau/Abs(r - 1))^2)"),
    known("one over a square that is cut at 1", "weight", "Min(1, tau/(r - 1)^2)"),
    known("a logistic bell by its factors", "weight", f"4*sigmoid({U})*(1 - sigmoid({U}))"),
    known("1 - erf", "weight", f"1 - erf(Abs{U})"),
    known("1 - tanh^3", "weight", f"1 - tanh(Abs{U})^3"),
    known("mixture of log-normals", "weight", "exp(-tau^2*z^2/2)/3 + 2/3*exp(-4*z^2)"),
    known("exponential of the k3 distance", "weight", "exp(-tau*(r - 1 - log(r)))"),
    known("Hellinger bell", "weight", "exp(-tau*(sqrt(r) - 1)^2)"),
    known("Matern 5/2", "weight", f"(1 + Abs{U} + {U}^2/3)*exp(-Abs{U})"),
    known("Wendland", "weight", f"Piecewise(((1 - Abs{U})^4*(4*Abs{U} + 1), Abs{U} < 1), (0, True))"),
    known("a temperature of exp(tau)", "weight",
          "Piecewise(((1 - (exp(tau)*(r - 1))^2)^2, exp(tau)*Abs(r - 1) < 1), (0, True))", tau="(-oo, oo)"),
    known("a triangle in the root of r", "weight", "Max(0, 1 - Abs(sqrt(r) - 1)*4/5)"),
    known("logistic bell with a corner", "weight", f"2/(1 + exp(Abs{U}))"),
    known("one over the square of the symmetric KL distance", "weight", "1/(1 + tau*(r - 1)*log(r))^2"),
    known("F distribution", "weight", "r^a*(1 + a/b)^(a + b)/(1 + a*r/b)^(a + b)", a="(0, oo)", b="(1, oo)"),
    known("flat, then a tail", "weight", "1/(1 + Max(0, Abs(r - 1) - e)/d)^2", e="(0, 1)", d="(0, oo)"),
    known("1 less an algebraic sigmoid", "weight", f"1 - Abs{U}/sqrt(1 + {U}^2)"),
    known("a pair", "value", ("1 + atan(tau*(r - 1))/tau", "1 + tanh(b*(r - 1))/b"), tau="(0, oo)", b="[1, 9]"),
]  # fmt: skip

REFUTED = [
    known("a corner at the tangent of 1/2", "value", "Min(1 + atan(r - 1), 3/2)", {C1: ("1.54630", "1.54631")}),
    known("a corner at log(3)/2", "value", "Min(1 + tanh(r - 1), 3/2)", {C1: ("1.54930", "1.54931")}),
    known("f = log r", "value", "log(r)", {PEAK: BELOW, DECAY: BELOW, VANISHING: ANY, VALUE: ANY}),
    known("f falls without end as r -> 0", "value", "1 - 1/r", {PEAK: BELOW, DECAY: BELOW, VALUE: ANY, SCORE: ANY}),
    known("and so in log r", "weight", "exp(-3*z)*sech(z)", {PEAK: ANY, DECAY: BELOW, VALUE: ANY, SCORE: ANY}),
    known("f = r", "value", "r", (VANISHING, VALUE, SCORE)),
    known("f = r^2/2", "value", "r^2/2", {PEAK: ABOVE, DECAY: ABOVE, VANISHING: ABOVE, VALUE: ANY, SCORE: ANY}),
    known("a constant", "value", "1", {PEAK: ONE, FIRST: ONE}),
    known("Mexican hat", "weight", f"(1 - {U}^2)*exp(-{U}^2/2)", (DECAY, NONNEGATIVE)),
    known("Mexican hat at tau = 1", "weight", "(1 - (r - 1)^2)*exp(-(r - 1)^2/2)",
          {DECAY: ("2", "1e99"), NONNEGATIVE: ("2", "1e99")}),
    known("vanishes in w but not in phi", "weight", "1/(1 + tau*Abs(r - 1))", (VANISHING, VALUE)),
    known("the same at tau = 2", "weight", "1/(1 + 2*Abs(r - 1))", {VANISHING: ABOVE, VALUE: ABOVE}),
    known("log-sech for tau > 0", "weight", "sech(tau*z/2)^2", (VANISHING, VALUE, SCORE)),
    known("maximum at 1 + 1/tau", "weight", f"exp({U} - {U}^2/2)", {PEAK: ABOVE, DECAY: ABOVE}),
    known("maximum left of 1", "weight", "exp((1 - r)/4 - (r - 1)^2)", {PEAK: ("3/4", "1"), DECAY: ("3/4", "1")}),
    known("no factor 4/tau", "value", f"sigmoid({U})", {PEAK: ONE, FIRST: ONE}),
    known(
        "leaky clip", "weight",
        ("Piecewise((1, r <= 6/5), (1/100, True))", "Piecewise((1/100, r < 4/5), (1, True))"),
        {C1: ("4/5", "6/5"), VANISHING: ANY, VALUE: ANY, SCORE: ANY},
    ),
    known("hard clip", "value", ("Min(r, 6/5)", "Max(r, 4/5)"),
          {C1: ("4/5", "6/5"), VANISHING: ABOVE, VALUE: ANY, SCORE: ANY}),
    known("dual clip", "value", ("Min(r, 6/5)", "Min(Max(r, 4/5), 3)"), {C1: ("4/5", "3")}),
    known("a hole in tanh(u)/u", "weight", f"tanh({U})/{U}", (VANISHING, VALUE)),
    known("a hole in log(r)/(r - 1)", "weight", "log(r)/(r - 1)",
          {PEAK: BELOW, DECAY: BELOW, VANISHING: ABOVE, VALUE: ANY, SCORE: ANY}),
    known("a hole in (r - 1)/log(r)", "weight", "(r - 1)/log(r)",
          {PEAK: ABOVE, DECAY: ABOVE, VANISHING: ABOVE, VALUE: ANY, SCORE: ANY}),
    known("a hole at r = 2", "weight", "exp(-(r-1)^2)*tanh(r-2)/(r-2)", (PEAK, DECAY, FIRST)),
    known("a step down behind 1", "weight", "Piecewise((1, r <= 1), (1/2, True))",
          {C1: ONE, VANISHING: ABOVE, VALUE: ANY, SCORE: ANY, FIRST: ONE}),
    known(
        "a step down at 1", "weight", "Piecewise((1, r < 1), (1/2, True))",
        (C1, PEAK, DECAY, VANISHING, VALUE, SCORE, FIRST),
    ),
    known("a step up at 2", "weight", "exp(-Abs(r - 1)) + Piecewise((1/10, (r > 2) & (r < 3)), (0, True))",
          {C1: ("2", "3"), DECAY: ("2", "2")}),
    known("a jump of the value", "value", "1 + atan(r - 1) + Piecewise((1e-9, r > 7), (0, True))", {C1: ("7", "7")}),
    known("a peak that only the text has", "weight", "Piecewise((1/2, r < 1), (1, r <= 1), (2 - r, r < 2), (0, True))",
          {C1: ONE, FIRST: ONE}),
    known("clip around 1", "value", "Piecewise((r, Abs(r - 1) < e), (1 + e*sign(r - 1), True))", (C1,), e="(0, 2)"),
    known("linear, to below 0", "weight", "Max(1 - 2*Abs(r - 1), -1/10)",
          {NONNEGATIVE: ("0", "1e99"), VANISHING: ABOVE, VALUE: ABOVE, SCORE: ABOVE}),
    known("Huber's weight", "weight", "Min(1, tau/Abs(r - 1))", (VANISHING, VALUE)),
    known("Huber's weight at level 2", "weight", "Min(2, tau/Abs(r - 1))",
          {PEAK: ONE, VANISHING: ANY, VALUE: ANY, FIRST: ONE}),
    known("a power of log r", "weight", "(1 + tau*z^2)^(-2)", (VANISHING, VALUE, SCORE)),
    known("the square of a logarithm", "weight", "1/(1 + tau*log(1 + (r - 1)^2))^2", (VANISHING, VALUE, SCORE)),
    known("level above 1 by 1e-12", "weight", "(1 + 1e-12)*sech(r - 1)^2", {PEAK: ONE, FIRST: ONE}),
]  # fmt: skip


def answers(certificate: Certificate, requirement: str) -> list[Requirement]:
    return [entry for entry in certificate.requirements if entry.id == requirement]


def of(entries: list[Requirement]) -> set[str]:
    return {entry.verdict for entry in entries}


@pytest.mark.parametrize("one", ADMITTED, ids=lambda one: one.name)
def test_an_admissible_gate_is_certified_for_its_whole_domain(one: Known) -> None:
    certificate = certify(one.gate, "trust-region", budget=20)
    assert {entry.id: entry.says for entry in certificate.requirements if entry.verdict != "proved"} == {}
    assert certificate.verdict == "certified"
    recheck(certificate.to_json())


@pytest.mark.parametrize("one", REFUTED, ids=lambda one: one.name)
def test_what_fails_is_told_apart_from_what_holds(one: Known) -> None:
    certificate = certify(one.gate, "trust-region", budget=20)
    failed = {entry.id for entry in certificate.requirements if entry.verdict == "refuted"}
    open_ = {entry.id for entry in certificate.requirements if entry.verdict == "undecided"}
    assert failed == set(one.fails)
    assert open_ == set()
    for entry in certificate.requirements:
        low, high = map(Rational, one.where.get(entry.id, ANY))
        assert entry.witness is None or all(low <= Rational(ratio) <= high for ratio in entry.witness.r), entry
    assert certificate.verdict == "refuted"
    recheck(certificate.to_json())


NEEDLES = [("1e-6", "0.01"), ("1e-6", "1e-6"), ("1e-6", "1e-9"), ("1e-12", "0.01"), ("1e-12", "1e-9")]


@pytest.mark.parametrize(("height", "width"), NEEDLES)
def test_a_needle_is_found_where_it_is_however_thin_and_low(height: str, width: str) -> None:
    text = f"sech({U}/2)^2 + {height}*exp(-((r - 37)/{width})^2)"
    certificate = certify(gate("needle", Formula("weight", text)), budget=30)
    decay, peak = answers(certificate, DECAY)[0], answers(certificate, PEAK)[0]
    assert (decay.verdict, peak.verdict) == ("refuted", "refuted")
    assert decay.witness is not None
    assert peak.witness is not None
    assert all(abs(Rational(ratio) - 37) <= 8 * Rational(width) for ratio in decay.witness.r)
    assert peak.witness.r == ("1",)  # w(1) = 1 + 1e-6 exp(-(36/width)^2)


@pytest.mark.parametrize("place", ["1/7", "1000001/1000000", "27/10", "1000000"])
def test_a_needle_of_1e_minus_12_is_found_wherever_it_is(place: str) -> None:
    text = f"1/(1 + {U}^2) + 1e-12*exp(-((r - {place})/1e-9)^2)"
    found = answers(certify(gate("needle", Formula("weight", text)), budget=30), DECAY)[0]
    assert found.witness is not None
    at = Rational(place)
    assert all(abs(Rational(ratio) - at) <= Rational("1e-8") for ratio in found.witness.r)


@pytest.mark.parametrize(
    ("base", "needle", "place"),
    [
        ("exp(-(10*z)^2)", "exp(-((z - 2)/1e-9)^2)", sympy.exp(2)),
        ("exp(-(10*log(r))^2)", "exp(-(1e9*log(r) - 1/3)^4)", sympy.Integer(1)),
        (f"1/(1 + {U}^2)", "exp(-((r - pi)/1e-9)^2)", sympy.pi),
        (f"sech({U}/2)^2", "exp(-((r - 3)/1e-9)^2 - ((tau - 7)/1e-3)^2)", sympy.Integer(3)),
    ],
    ids=["in log r", "in log r, near 1", "at pi, for every tau", "for a few tau alone"],
)
def test_a_needle_is_found_in_every_coordinate(base: str, needle: str, place: sympy.Expr) -> None:
    domains = {"tau": "(0, oo)"} if "tau" in base else {}
    certificate = certify(gate("needle", Formula("weight", f"{base} + 1e-12*{needle}", domains)), budget=15)
    decay = answers(certificate, DECAY)[0]
    assert decay.verdict == "refuted"
    assert decay.witness is not None
    assert abs(Rational(decay.witness.r[-1]) - place) < 1e-7
    recheck(certificate.to_json())


@pytest.mark.parametrize(("onset", "verdict"), [("18", "refuted"), ("19.9", "refuted"), ("21", "proved")])
def test_a_violation_in_a_corner_of_the_parameter_box_is_found_and_one_outside_is_none(
    onset: str, verdict: str
) -> None:
    text = f"1/(1 + {U}^2) + Max(tau - {onset}, 0)*Max(r - 3, 0)^2/(1 + r^4)"
    certificate = certify(gate("corner", Formula("weight", text, {"tau": "[1/20, 20]"})), budget=30)
    found = answers(certificate, DECAY)[0]
    assert found.verdict == verdict
    if found.witness is not None:
        assert Rational(onset) < Rational(found.witness.parameters["tau"]) <= 20


RISE = "100*Max(r - 3, 0)^2/(1 + r^4)"


@pytest.mark.parametrize(
    "where", ["Max(a - b - 1, 0)", "Max(a + b - 19, 0)", "Max(a - 9, 0)*Max(b - 9, 0)*Max(c - 9.9, 0)*10"]
)
def test_a_violation_in_a_corner_of_a_box_of_several_parameters_is_found(where: str) -> None:
    domains = {p: "[0, 10]" for p in ("a", "b", "c") if p in where}
    certificate = certify(gate("corner", Formula("weight", f"1/(1 + (r - 1)^2) + {where}*{RISE}", domains)), budget=12)
    found = answers(certificate, DECAY)[0]
    assert found.verdict == "refuted"
    assert found.witness is not None
    numbers = {p: Rational(value) for p, value in found.witness.parameters.items()}
    assert parse_expression(where, {p: Rational(v) for p, v in numbers.items()}) > 0  # type: ignore[operator, arg-type]
    recheck(certificate.to_json())


def test_a_corner_that_no_formula_places_for_every_parameter_is_refuted_at_one() -> None:
    ceiling = gate("ceiling", Formula("value", "Min(1 + atan(tau*(r - 1))/tau, 3/2)"))
    certificate = certify(ceiling, "trust-region", budget=20)
    (found, _) = answers(certificate, C1)
    assert found.witness is not None
    assert 0 < Rational(found.witness.parameters["tau"]) < sympy.pi  # else atan stays below the ceiling
    recheck(certificate.to_json())


def test_a_power_is_undefined_only_where_its_exponent_is_not_whole() -> None:
    certificate = certify(gate("plateau", Formula("weight", f"1/(1 + {U}^(2*n))", {"tau": "(0, oo)", "n": "[1, 5]"})))
    (found, _) = answers(certificate, C1)
    assert found.witness is not None
    assert not (2 * Rational(found.witness.parameters["n"])).is_integer
    recheck(certificate.to_json())


@pytest.mark.parametrize(
    ("text", "place"),
    [("1 + 1/(3 - 2*r)", Rational(3, 2)), ("1/(2 - r^2)", None), ("log(2 - r)", 2), ("sqrt(r - 1/2)", Rational(1, 2))],
    ids=["rational pole", "irrational pole", "a logarithm that ends", "a root that begins"],
)
def test_where_a_gate_is_not_defined_is_said(text: str, place: Rational | None) -> None:
    certificate = certify(gate("broken", Formula("value", text)), budget=10)
    assert of(answers(certificate, C1)) == {"refuted"}
    witness = answers(certificate, C1)[0].witness
    assert witness is not None
    ratios = [Rational(ratio) for ratio in witness.r]
    match place:
        case None:
            assert min(ratios) ** 2 < 2 < max(ratios) ** 2
        case _ if "sqrt" in text:
            assert ratios[0] <= place
        case _:
            assert ratios[0] >= place


def test_a_gate_that_differs_between_signs_gets_a_verdict_for_each() -> None:
    pair = ("1 + atan(tau*(r - 1))/tau", "r^2/2")
    certificate = certify(gate("pair", Formula("value", pair)))
    verdicts = {s: {e.id: e.verdict for e in certificate.requirements if e.sign == s} for s in SIGNS}
    assert set(verdicts["positive"].values()) == {"proved"}
    assert verdicts["negative"][DECAY] == "refuted"


def test_the_bank_is_large_and_no_gate_is_in_it_twice() -> None:
    formulas = {one.gate.digest for one in (*ADMITTED, *REFUTED)}
    assert len(formulas) == len(ADMITTED) + len(REFUTED) >= 60


def smoothness(text: str, order: int) -> set[str]:
    certificate = certify(gate("smooth", Formula("weight", text)), require=[f"smoothness >= {order}"], budget=20)
    recheck(certificate.to_json())
    return of(answers(certificate, f"smoothness >= {order}"))


@pytest.mark.parametrize(
    ("text", "order"),
    [(f"Piecewise((sech({U})^2, r < 1), (sech({U}/2)^2, True))", 2), ("(1 + tau*Abs(r - 1))^(-2)", 1)],
    ids=["2 tau to the left, tau to the right", "softsign-abs"],
)
def test_how_smooth_a_gate_is_is_known_exactly(text: str, order: int) -> None:
    assert smoothness(text, order) == {"proved"}
    assert smoothness(text, order + 1) == {"refuted"}


def test_a_tail_starts_behind_a_breakpoint_at_which_the_text_is_not_in_it() -> None:
    step = gate("step", Formula("weight", "sech(r - 1)^2/2^r + Piecewise((1/10, r > 4), (0, True))", {}))
    certificate = certify(step, budget=10)
    (found, _) = answers(certificate, VANISHING)
    assert found.witness is not None
    assert Rational(found.witness.r[0]) > 4
    forged = certificate.to_json()
    for entry in forged["requirements"]:
        if entry["id"] == VANISHING:
            entry["witness"]["r"] = ["4"]
            *before, _between, last = entry["evidence"]["sections"]
            entry["evidence"]["sections"] = [*before, {**last, "from": "4"}]
    claimed = {key: forged[key] for key in forged if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    forged["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(RecheckFailed, match="not beyond the bound"):
        recheck(forged)


def test_a_witness_smaller_than_any_power_of_ten_that_is_read_rechecks() -> None:
    certificate = certify(gate("tiny", Formula("weight", "exp(-exp(exp(exp(exp(r)))))", {})), budget=10)
    assert {entry.verdict for entry in answers(certificate, DECAY)} == {"refuted"}
    recheck(certificate.to_json())


def test_log_sech_fails_only_at_temperatures_up_to_1() -> None:
    certificate = certify(gate("log-sech", Formula("weight", "sech(tau*z/2)^2")))
    witnesses = [entry.witness for entry in answers(certificate, VANISHING)]
    assert all(witness is not None and Rational(witness.parameters["tau"]) <= 1 for witness in witnesses)
