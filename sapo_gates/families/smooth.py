"""Smooth gates in x = r - 1: the four of arXiv:2602.19345v2 (eqs. 3, 6-8) and textbook relatives."""

from sympy import Abs, atan, erf, pi, sqrt, tanh

from sapo_gates.functions import r, sigmoid
from sapo_gates.gate import Gate, Parameter

tau = Parameter(
    "tau", domain="(0, oo)", positive=10, negative=12, says="temperature; the larger, the narrower the trust region"
)
x = r - 1

SIGMOID = Gate(
    name="sigmoid",
    value=4 / tau * sigmoid(tau * x),
    parameters=(tau,),
    source="arXiv:2511.20347, eq. 5; arXiv:2602.19345v2, eq. 3",
    says="SAPO's gate: w = sech^2(tau x/2), exponential tail",
)

ERF = Gate(
    name="erf",
    value=1 + sqrt(pi / 2) / tau * erf(tau * x / sqrt(2)),
    parameters=(tau,),
    source="arXiv:2602.19345v2, eq. 6",
    says="w = exp(-tau^2 x^2/2), Gaussian tail",
)

ARCTAN = Gate(
    name="arctan",
    value=1 + atan(tau * x) / tau,
    parameters=(tau,),
    source="arXiv:2602.19345v2, eq. 7",
    says="w = 1/(1 + tau^2 x^2), polynomial tail of order 2",
)

SOFTSIGN = Gate(
    name="softsign",
    value=1 + x / sqrt(1 + tau**2 * x**2),
    parameters=(tau,),
    source="arXiv:2602.19345v2, eq. 8",
    says="the algebraic sigmoid: w = (1 + tau^2 x^2)^(-3/2), polynomial tail of order 3",
)

SOFTSIGN_ABS = Gate(
    name="softsign-abs",
    value=1 + x / (1 + tau * Abs(x)),
    parameters=(tau,),
    source="textbook softsign x/(1 + |x|)",
    says="w = (1 + tau |x|)^-2; only C^1, with a corner of the weight at r = 1",
)

TANH = Gate(
    name="tanh",
    value=1 + tanh(tau * x) / tau,
    parameters=(tau,),
    source="textbook; the sigmoid gate at 2 tau, shifted",
    says="w = sech^2(tau x), exponential tail",
)
