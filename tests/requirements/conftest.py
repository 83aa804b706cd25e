"""What every requirement's test needs: an answer, and w at exact numbers by plain sympy alone."""

from collections.abc import Callable

import pytest
import sympy
from sympy import Expr, Rational, Symbol

from sapo_gates import Gate, Parameter, certify
from sapo_gates.certificate import Requirement
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, z
from sapo_gates.requirements import ADMISSIBLE
from sapo_gates.verdict import Sign, Witness


def _declared(**texts: str) -> Gate:
    """A gate in r and tau: `weight="1/(1 + tau*Abs(r - 1))"`, or value, or score; domain: tau's, around 2."""
    tau = Parameter("tau", texts.pop("domain", "(0, oo)"), 2, 2)
    formulas = {kind: parse_expression(text, {"tau": tau}) for kind, text in texts.items()}
    return Gate(name="under-test", parameters=(tau,), **formulas)


@pytest.fixture(scope="session")
def declared() -> Callable[..., Gate]:
    """A gate from texts."""
    return _declared


def _answer(gate: Gate, requirement: str, sign: Sign = "positive") -> Requirement:
    profile = "admissible" if requirement in {module.ID for module in ADMISSIBLE} else "trust-region"
    certificate = certify(gate, profile, budget=6)
    return next(entry for entry in certificate.requirements if (entry.id, entry.sign) == (requirement, sign))


@pytest.fixture(scope="session")
def answer() -> Callable[..., Requirement]:
    """One requirement's answer for one sign of A."""
    return _answer


def _plain(gate: Gate, witness: Witness | None, ratio: str, kind: str = "weight", sign: Sign = "positive") -> Expr:
    """f, w or phi at a witness's parameters: declared formula to 60 digits."""
    assert witness is not None
    x = Symbol("x")  # without assumptions, so that nothing is simplified by them
    numbers = {p: Rational(witness.parameters[p.name]) for p in gate.parameters_for(sign)}
    formula = gate.declared(sign).subs(numbers).subs({z: sympy.log(x), r: x})
    if gate.kind == "value" and kind != "value":
        formula = sympy.diff(formula.rewrite(sympy.Piecewise), x)
    if gate.kind == "score":
        formula = formula / x
    formula = x * formula if kind == "score" else formula
    return sympy.N(formula.subs(x, Rational(ratio)), 60)


@pytest.fixture(scope="session")
def plain() -> Callable[..., Expr]:
    """f, w or phi by plain sympy."""
    return _plain
