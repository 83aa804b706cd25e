# sympy's own annotations are partial and contradict each other (Rational / Rational is not a Rational, xreplace gives a
# Basic), so that checking against them finds faults where there are none; here everything of sympy is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
