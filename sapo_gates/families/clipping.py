"""Hard clipping, what GRPO does: admissible in nothing but name, and the baseline every gate is compared with."""

from sympy import Max, Min

from sapo_gates.functions import r
from sapo_gates.gate import Gate, Parameter

epsilon = Parameter("epsilon", domain="(0, 1)", positive="0.2", negative="0.2", says="half-width of the clip interval")
epsilon_low = Parameter("epsilon_low", domain="(0, 1)", positive="0.2", negative="0.2", says="clip bound below 1")
epsilon_high = Parameter("epsilon_high", domain="(0, oo)", positive="0.28", negative="0.28", says="clip bound above 1")

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
