"""SIGTERM: the run ends at its next batch boundary, its state saved, or unsaved when the grace is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sapo_train.errors import PeerFailed, Stopped
from sapo_train.view import end_at_once


class Stopping:
    """Says whether the run was asked to stop."""

    def __init__(self, grace: float) -> None:
        """Give it `grace` seconds from then on."""
        self.grace = grace
        self.asked = False
        self.deadline: threading.Timer | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to SIGTERM.

        Raises:
            Stopped: the other processes were stopped too, and ended first.
        """
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        except PeerFailed:
            if self.asked:
                raise Stopped from None
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.deadline:
                self.deadline.cancel()

    def _ask(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            line = f"stopped after checkpoint.grace={self.grace:g} s without saving; resume goes on from the last "
            # A thread, because a signal handler would wait for the matrix product that is being computed.
            self.deadline = threading.Timer(self.grace, end_at_once, [f"{line}checkpoint", 143])
            self.deadline.daemon = True
            self.deadline.start()
