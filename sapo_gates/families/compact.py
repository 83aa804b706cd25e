"""Weights that are exactly 0 beyond a finite distance: hard clipping made smooth, and robust statistics."""

from sympy import Abs, Integer, Max, Min, Piecewise, cos, exp, pi

from sapo_gates.families.smooth import tau, x
from sapo_gates.gate import Gate, Parameter

_a = Parameter("a", domain="(1, oo)", positive="3.7", negative="3.7", says="where w reaches 0, in units of 1/tau")
_inside = Abs(tau * x) < 1
_zero = Integer(0)

COMPACT_BUMP = Gate(
    name="compact-bump",
    weight=Piecewise((exp(1 - 1 / (1 - (tau * x) ** 2)), _inside), (_zero, True)),
    parameters=(tau,),
    source="derived",
    says="C^oo with compact support: hard clipping made smooth",
)

RAISED_COSINE = Gate(
    name="raised-cosine",
    weight=Piecewise(((1 + cos(pi * tau * x)) / 2, _inside), (_zero, True)),
    parameters=(tau,),
    source="derived",
    says="compact support, f exactly C^2",
)

TUKEY_BIWEIGHT = Gate(
    name="tukey-biweight",
    weight=Piecewise(((1 - (tau * x) ** 2) ** 2, _inside), (_zero, True)),
    parameters=(tau,),
    source="robust statistics",
    says="w = (1 - (tau x)^2)^2 inside |tau x| < 1",
)

SCAD = Gate(
    name="scad",
    weight=Max(0, Min(1, (_a - tau * Abs(x)) / (_a - 1))),
    parameters=(tau, _a),
    source="robust statistics: the derivative of the SCAD penalty",
    says="1 up to |tau x| = 1, then linearly to 0 at a",
)
