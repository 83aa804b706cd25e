"""Gates in z = log r: log-symmetric weights, w(r) = w(1/r)."""

from sympy import exp, sech

from sapo_gates.families.smooth import tau
from sapo_gates.functions import z
from sapo_gates.gate import Gate

LOG_NORMAL = Gate(
    name="log-normal",
    weight=exp(-(tau**2) * z**2 / 2),
    parameters=(tau,),
    source="derived",
    says="w = exp(-tau^2 z^2/2), admissible for every tau",
)

LOG_SECH = Gate(
    name="log-sech",
    weight=sech(tau * z / 2) ** 2,
    parameters=(tau,),
    source="derived from arXiv:2511.20347, section 4.1",
    says="w = sech^2(tau z/2), admissible only for tau > 1",
)

LOG_ARCTAN = Gate(
    name="log-arctan",
    weight=1 / (1 + tau**2 * z**2),
    parameters=(tau,),
    source="derived",
    says="w = 1/(1 + tau^2 z^2), whose score weight grows without bound",
)

LOG_LINEAR = Gate(
    name="log-linear",
    value=1 + z,
    source="REINFORCE-like: phi = 1",
    says="every token pulls alike, however far it has drifted",
)
