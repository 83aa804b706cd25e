"""A hard time limit for SymPy routines whose cost nobody can foresee.

Seconds are those of this process's CPU time: a proof ends the same way however busy the machine is.
"""

import math
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

AGAIN = 1.0  # seconds after which a limit that found no place to interrupt rings again
"""Seconds after which an interruption that the interpreter dropped, as it does in a callback, is tried again."""
SOON = 1e-3
"""Seconds after which a limit rings that ended while a shorter one inside it did."""

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Inside the block, no `within` goes on beyond so many seconds from now."""
    token = _deadline.set(min(_deadline.get(), time.process_time() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


class OutOfTime(Exception):
    """The work took longer than it was given."""


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of the work.

    Only the main thread can be interrupted; in any other, and after a deadline, the work is not begun, so that nothing
    can hang there.

    Raises:
        OutOfTime: it took longer, the deadline has passed, or this is not the main thread.
    """
    seconds = min(seconds, _deadline.get() - time.process_time())
    if seconds <= 0 or threading.current_thread() is not threading.main_thread():
        raise OutOfTime
    return interrupted(seconds, work)


def interrupted(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of the work, which in any thread but the main one may take as long as it likes.

    Raises:
        OutOfTime: it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()

    def ring(signal_number: int, frame: FrameType | None) -> None:
        if frame is None or not _is_callback(frame):  # from a callback nothing can be raised; it rings again soon
            raise OutOfTime

    began, outer = time.process_time(), signal.getitimer(signal.ITIMER_PROF)[0]
    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, min(seconds, outer or seconds), AGAIN)
    try:
        return work()
    finally:
        left = max(outer - (time.process_time() - began), SOON)  # what goes on around it has used that time too
        signal.setitimer(signal.ITIMER_PROF, left if outer else 0, AGAIN)
        signal.signal(signal.SIGPROF, before)


def _is_callback(frame: FrameType) -> bool:
    """Whether the interpreter itself called this: a weak reference's, a finalizer's or the garbage collector's."""
    code = frame.f_code
    return code.co_filename == weakref.__file__ or code.co_name == "__del__" or "gc_callback" in code.co_name
