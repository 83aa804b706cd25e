"""Methods that define the score weight phi and stop the gradient, so that no value f is ever written down."""

from sympy import Integer, Min, Piecewise, exp

from sapo_gates.families.clipping import epsilon_high, epsilon_low
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Parameter

_cap = Parameter("c", domain="(1, oo)", positive=5, negative=5, says="largest score weight")
_lambda = Parameter("lambda_", domain="(0, oo)", positive=1, negative=1, says="how fast the weight falls")
_beta_high = Parameter("beta_2", domain="(0, oo)", positive=1, negative=1, says="strength above 1 + epsilon_high")
_beta_low = Parameter("beta_1", domain="(0, oo)", positive="0.75", negative="0.75", says="strength below the bound")
_c1 = Parameter("c1", domain="(0, oo)", positive=2, negative=3, says="power of r")
_c2 = Parameter("c2", domain="(0, oo)", positive=3, negative=2, says="rate of the exponential")
_zero = Integer(0)

CISPO = Gate(
    name="cispo",
    score=Min(r, _cap),
    parameters=(_cap,),
    source="arXiv:2506.13585",
    says="the ratio, capped and detached",
)

TOPR = Gate(
    name="topr",
    score=(Integer(1), Min(r, 1)),
    source="arXiv:2503.14286",
    says="REINFORCE for A > 0, truncated importance sampling otherwise",
)

GPPO = Gate(
    name="gppo",
    score=(
        Piecewise((r, r <= 1 + epsilon_high), (1 + epsilon_high, True)),
        Piecewise((1 - epsilon_low, r < 1 - epsilon_low), (r, True)),
    ),
    parameters=(epsilon_low, epsilon_high),
    source="arXiv:2508.07629",
    says="the gradient of clipped tokens is kept at the bound's strength",
)

CE_GPPO = Gate(
    name="ce-gppo",
    score=(
        Piecewise((r, r <= 1 + epsilon_high), (_beta_high * (1 + epsilon_high), True)),
        Piecewise((_beta_low * (1 - epsilon_low), r < 1 - epsilon_low), (r, True)),
    ),
    parameters=(epsilon_low, epsilon_high, _beta_low, _beta_high),
    source="arXiv:2509.20712",
    says="gppo with a strength of its own beyond each bound",
)

ASPO = Gate(
    name="aspo",
    score=(
        Piecewise((Integer(3), r <= Integer(1) / 3), (1 / r, r <= 1 + epsilon_high), (_zero, True)),
        Piecewise((_zero, r < 1 - epsilon_low), (Min(r, 3), True)),
    ),
    parameters=(epsilon_low, epsilon_high),
    source="arXiv:2510.06062",
    says="the ratio of positive tokens turned upside down",
)

VESPO = Gate(
    name="vespo",
    score=r**_c1 * exp(_c2 * (1 - r)),
    parameters=(_c1, _c2),
    source="arXiv:2602.10693; r is the ratio of the whole sequence",
    says="a gamma-shaped score weight",
)

WELSCH = Gate(
    name="welsch",
    score=r * exp(-_lambda * (r - 1) ** 2 / 2),
    parameters=(_lambda,),
    source="the VESPO repository",
    says="w = exp(-lambda (r - 1)^2/2): the erf gate at tau = sqrt(lambda)",
)

CAUCHY_ORIGIN = Gate(
    name="cauchy-origin",
    score=(1 + _lambda) * r / (1 + _lambda * r**2),
    parameters=(_lambda,),
    source="the VESPO repository",
    says="a Cauchy weight centred at r = 0",
)

HARMONIC = Gate(
    name="harmonic",
    score=(1 + _lambda) * r / (1 + _lambda * r),
    parameters=(_lambda,),
    source="the VESPO repository",
    says="a score weight that saturates at (1 + lambda)/lambda",
)
