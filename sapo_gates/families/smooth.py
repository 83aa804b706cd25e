"""Smooth gates in x = r - 1: the four of arXiv:2602.19345v2 (eqs. 3, 6-8) and textbook relatives."""

from sympy import Abs, Integer, atan, erf, exp, pi, sqrt, tanh

from sapo_gates.functions import r, sigmoid
from sapo_gates.gate import Gate, Parameter

tau = Parameter(
    "tau", domain="(0, oo)", positive=10, negative=12, says="temperature; the larger, the narrower the trust region"
)
nu = Parameter("nu", domain="(0, oo)", positive=3, negative=3, says="degrees of freedom; few make a heavy tail")
p = Parameter("p", domain="(0, oo)", positive=2, negative=2, says="shape: 2 is the Gaussian")
smoothing = Parameter("alpha", domain="(0, 1)", positive="0.1", negative="0.1", says="share of the constant 1")
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

GAUSSIAN_CDF = Gate(
    name="gaussian-cdf",
    value=1 + sqrt(2 * pi) / tau * ((1 + erf(tau * x / sqrt(2))) / 2 - Integer(1) / 2),
    parameters=(tau,),
    source="textbook; equal to erf",
    says="f = 1 + sqrt(2 pi)/tau (Phi(tau x) - 1/2)",
)

P3O = Gate(
    name="p3o",
    value=4 / tau * sigmoid(tau * x),
    parameters=(Parameter("tau", "(0, oo)", 4, 4, "temperature; 4 or 2 in the paper"),),
    source="arXiv:2205.10047; the paper adds a KL penalty",
    says="the sigmoid gate at tau = 4",
)

STUDENT_T = Gate(
    name="student-t",
    weight=(1 + tau**2 * x**2 / nu) ** (-(nu + 1) / 2),
    parameters=(tau, nu),
    source="derived; arctan is nu = 1, softsign at tau/sqrt(2) is nu = 2, erf is nu -> oo",
    says="polynomial tail of order nu + 1",
)

GENERALISED_NORMAL = Gate(
    name="generalised-normal",
    weight=exp(-((tau * Abs(x)) ** p)),
    parameters=(tau, p),
    source="derived; erf at sqrt(2) tau is p = 2",
    says="w = exp(-(tau |x|)^p); f is C^2 only for p > 1",
)

PSPO = Gate(
    name="pspo",
    value=(1 - smoothing) * r + smoothing,
    parameters=(smoothing,),
    source="arXiv:2509.21282",
    says="the ratio mixed with 1",
)
