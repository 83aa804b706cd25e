"""Everything that can be wrong with what a user gave us. Each message: the thing, the value, the rule, the cure."""

from collections.abc import Iterable
from difflib import get_close_matches


class SapoGatesError(Exception):
    """Base of every error a user of this package can cause."""


class GateTextError(SapoGatesError):
    """An expression or a gate file that cannot be read."""


class UnknownGate(SapoGatesError):
    """No family, file or dotted path of that name."""


class UnknownParameter(SapoGatesError):
    """A gate has no parameter of that name."""


class ParameterValueError(SapoGatesError):
    """A parameter's value lies outside the domain the gate is claimed for."""


class RequirementError(SapoGatesError):
    """A requirement or profile that does not exist."""


class CertificateError(SapoGatesError):
    """A file that is not a certificate."""


class RecheckFailed(SapoGatesError):
    """A statement of a certificate that does not hold when it is evaluated again."""


class NotCertified(SapoGatesError):
    """A gate is asked for as certified and is not."""


class CalibrationError(SapoGatesError):
    """A half-width that no temperature of a gate reaches."""


class ExportError(SapoGatesError):
    """A certified gate whose formula has no exported form."""


class TraceError(SapoGatesError):
    """A torch function that cannot be read as a gate's formula."""


class AuditError(SapoGatesError):
    """A function that cannot be audited as it was named."""


class AdapterError(SapoGatesError):
    """Another trainer's version or option that a gate cannot be put into."""


class PlotError(SapoGatesError):
    """A picture that cannot be drawn."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'tau'?`` with the nearest known name, or an empty string."""
    names = list(known)
    nearest = [one for one in names if one.casefold() == name.casefold()] or get_close_matches(name, names, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
