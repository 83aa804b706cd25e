"""The promises a gate is held to, one file each, and the profiles they form."""

from types import ModuleType

from sapo_gates.errors import RequirementError, did_you_mean
from sapo_gates.requirements import (
    bounded_score,
    bounded_value,
    continuously_differentiable,
    first_order_agreement,
    monotone_decay,
    nonnegative_weight,
    unit_peak,
    vanishing_score,
)

ADMISSIBLE: tuple[ModuleType, ...] = (continuously_differentiable, unit_peak, monotone_decay, vanishing_score)
TRUST_REGION: tuple[ModuleType, ...] = (
    *ADMISSIBLE,
    nonnegative_weight,
    bounded_value,
    bounded_score,
    first_order_agreement,
)
PROFILES: dict[str, tuple[ModuleType, ...]] = {"admissible": ADMISSIBLE, "trust-region": TRUST_REGION}


def requirements_of(profile: str) -> tuple[ModuleType, ...]:
    """The requirements of a profile, in order.

    Raises:
        RequirementError: no such profile.
    """
    if profile not in PROFILES:
        raise RequirementError(
            f"no profile {profile!r}; there are {', '.join(PROFILES)}.{did_you_mean(profile, PROFILES)}"
        )
    return PROFILES[profile]
