"""Clipping by the ratio, and gates that change something only beyond a clip bound on the kill side.

A pair is (for A > 0, for A <= 0). For A > 0 the bound lies at 1 + epsilon, otherwise at 1 - epsilon.
"""

from sympy import Expr, Integer, Max, Min, Piecewise, exp, sech

from sapo_gates.functions import r, sigmoid
from sapo_gates.gate import Gate, Parameter

epsilon = Parameter("epsilon", domain="(0, 1)", positive="0.2", negative="0.2", says="half-width of the clip interval")
epsilon_low = Parameter("epsilon_low", domain="(0, 1)", positive="0.2", negative="0.2", says="clip bound below 1")
epsilon_high = Parameter("epsilon_high", domain="(0, oo)", positive="0.28", negative="0.28", says="clip bound above 1")
ceiling = Parameter("c", domain="(1, oo)", positive=3, negative=3, says="ratio at which the guard for A < 0 sets in")
width = Parameter("s", domain="(0, oo)", positive="0.05", negative="0.05", says="width of the transition")
sigma = Parameter("sigma", domain="(0, oo)", positive="0.2", negative="0.2", says="width of the Gaussian")
alpha = Parameter("alpha", domain="(0, 1)", positive="0.3", negative="0.3", says="strength beyond the clip bound")
n = Parameter("n", domain="(0, oo)", positive=1, negative=1, says="power below 1 - epsilon")
m = Parameter("m", domain="(0, oo)", positive=2, negative=2, says="root above 1 + epsilon")

_past = (r - (1 + epsilon), (1 - epsilon) - r)  # how far beyond the bound of the kill side


def _beyond(high: Expr | int, low: Expr | int) -> tuple[Expr, Expr]:
    """Weight 1 up to the bound of the kill side, the given weight beyond it."""
    one = Integer(1)
    return (
        Piecewise((one, r <= 1 + epsilon), (Integer(1) * high, True)),
        Piecewise((Integer(1) * low, r < 1 - epsilon), (one, True)),
    )


HARD_CLIP = Gate(
    name="hard-clip",
    value=(Min(r, 1 + epsilon), Max(r, 1 - epsilon)),
    parameters=(epsilon,),
    source="PPO, arXiv:1707.06347; GRPO, arXiv:2402.03300",
    says="pessimistic clipping, written per sign of A",
)

CLIP_HIGHER = Gate(
    name="clip-higher",
    value=(Min(r, 1 + epsilon_high), Max(r, 1 - epsilon_low)),
    parameters=(epsilon_low, epsilon_high),
    source="DAPO, arXiv:2503.14476",
    says="hard clipping with a wider bound above 1",
)

DUAL_CLIP = Gate(
    name="dual-clip",
    value=(Min(r, 1 + epsilon), Min(Max(r, 1 - epsilon), ceiling)),
    parameters=(epsilon, ceiling),
    source="arXiv:1912.09729",
    says="hard clipping, and for A < 0 a ceiling at r = c",
)

SPO = Gate(
    name="spo",
    weight=(1 - (r - 1) / epsilon, 1 + (r - 1) / epsilon),
    parameters=(epsilon,),
    source="arXiv:2401.16025",
    says="a quadratic penalty: w = 1 - sign(A)(r - 1)/epsilon",
)

PPO_RB = Gate(
    name="ppo-rb",
    weight=_beyond(-alpha, -alpha),
    parameters=(epsilon, alpha),
    source="arXiv:1903.07940",
    says="roll-back: w = -alpha beyond the bound",
)

PPOS = Gate(
    name="ppos",
    weight=_beyond(-alpha * sech(r - 1) ** 2, -alpha * sech(r - 1) ** 2),
    parameters=(epsilon, Parameter("alpha", "(0, 1)", "0.2", "0.2", "strength beyond the clip bound")),
    source="arXiv:2012.02439",
    says="smooth roll-back: w = -alpha sech^2(r - 1) beyond the bound",
)

LEAKY_PPO = Gate(
    name="leaky-ppo",
    weight=_beyond(alpha, alpha),
    parameters=(epsilon, Parameter("alpha", "(0, 1)", "0.01", "0.01", "slope beyond the clip bound")),
    source="folklore",
    says="w = alpha beyond the bound",
)

KLIP_RAMP = Gate(
    name="klip-ramp",
    weight=(Min(1, Max(0, 1 - _past[0] / width)), Min(1, Max(0, 1 - _past[1] / width))),
    parameters=(
        Parameter("epsilon", "(0, 1/2]", "0.2", "0.2", "half-width of the clip interval"),
        Parameter("s", "(0, 1/2)", "0.05", "0.05", "width of the ramp; it ends above r = 0"),
    ),
    source="arXiv:2606.23932",
    says="the weight falls linearly from 1 to 0 over a width beyond the bound",
)

KLIP_SIGMOID = Gate(
    name="klip-sigmoid",
    weight=(sigmoid(-_past[0] / width), sigmoid(-_past[1] / width)),  # 1 - sigma(d) = sigma(-d), without cancellation
    parameters=(epsilon, width),
    source="arXiv:2606.23932",
    says="the weight falls like a logistic function around the bound",
)

MASPO = Gate(
    name="maspo",
    weight=(
        Piecewise((exp(-((r - 1) ** 2) / (2 * sigma**2)), r > 1), (1, True)),
        Piecewise((exp(-((r - 1) ** 2) / (2 * sigma**2)), r < 1), (1, True)),
    ),
    parameters=(sigma,),
    source="arXiv:2602.17550, with sigma held fixed",
    says="Gaussian weight on the kill side, 1 on the pass side",
)

DGPO = Gate(
    name="dgpo",
    weight=_beyond(((1 + epsilon) / r) ** (1 / m), (r / (1 - epsilon)) ** n),
    parameters=(epsilon, n, m),
    source="arXiv:2603.14389",
    says="power laws beyond the bounds",
)
