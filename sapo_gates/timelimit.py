"""A hard time limit for SymPy routines whose cost nobody can foresee."""

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class OutOfTime(Exception):
    """The work took longer than it was given."""


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of the work.

    Only the main thread can be interrupted; in any other the work is not begun, so that nothing can hang there.

    Raises:
        OutOfTime: it took longer, or this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise OutOfTime

    def ring(signal_number: int, frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, before)
