"""Asking a reward function: numbers come back in time, or one error that names function and sample."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sapo_train.config import nearest
from sapo_train.errors import ConfigError, RewardError
from sapo_train.view import end_at_once

LARGEST = 1e30  # beyond it a standard deviation of rewards overflows
GRACE = 5.0  # seconds from the interrupts to the end of the process, for a function that none of them reaches

COLUMNS = ("completions", "answers", "questions", "rows")
Columns = Mapping[str, Sequence[Any]]  # each of COLUMNS, with one item for each completion


@dataclass(frozen=True)
class RewardFunction:
    """A function, and which columns it asks for by the names of its parameters."""

    function: Callable[..., Any]
    asks: tuple[str, ...] = ("completions", "answers")

    def __call__(self, columns: Columns) -> Any:
        """Give it what it asks for."""
        return self.function(**{name: columns[name] for name in self.asks})


def reward_function(path: str, function: Callable[..., Any]) -> RewardFunction:
    """Read from a function's parameters what it asks for; `**kwargs` asks for every column.

    Raises:
        ConfigError: a parameter that no column is meant by, with a default or without.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(
            f"reward {path!r} does not tell its parameters; name a function of {list(COLUMNS)} that calls it."
        ) from None
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    asked = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    for parameter in asked:
        if parameter.name not in COLUMNS or parameter.kind not in by_name:
            how = "" if parameter.kind in by_name else f" as a {parameter.kind.description} parameter"
            raise ConfigError(
                f"reward {path!r} asks for {parameter.name!r}{how}; its parameters must be some of {list(COLUMNS)}, "
                f"which are given by name.{nearest(parameter.name, COLUMNS)}"
            )
    every = len(asked) < len(parameters)
    return RewardFunction(function, COLUMNS if every else tuple(p.name for p in asked))


class TookTooLong(BaseException):
    """Raised inside a function whose time is up; no `except Exception` of its own keeps it."""


def ask(name: str, function: RewardFunction, columns: Columns, limit: float) -> list[float | None]:
    """Return what a function of the user's, sync or async, says of each completion; None: it does not apply.

    Raises:
        RewardError: an exception, no answer within `limit` seconds, or values that are no numbers, naming the sample.
    """
    texts = columns["completions"]
    lost = f"reward {name!r} has not returned after {limit + GRACE:g} s, asked about {len(texts)} completions"
    try:
        values = _values(function, columns, limit, lost)
    except TookTooLong:
        share = max(1.0, limit / len(texts))
        culprit = _culprit(function, columns, share) or f", none of which takes {share:.3g} s alone"
        raise RewardError(
            f"reward {name!r} took more than reward.limit={limit:g} s for {len(texts)} completions{culprit}."
        ) from None
    except (Exception, SystemExit) as error:
        culprit = _culprit(function, columns, limit)
        raise RewardError(f"reward {name!r} raised {type(error).__name__}: {error}{culprit}.") from error
    if not isinstance(values, list):
        raise RewardError(f"reward {name!r} returned {values!r}; it must return one number for each completion.")
    if len(values) != len(texts):
        raise RewardError(
            f"reward {name!r} returned {len(values)} values for {len(texts)} completions; it needs one each."
        )
    for value, text in zip(values, texts, strict=True):
        if value is not None and not _is_number(value):
            raise RewardError(
                f"reward {name!r} is {value!r} for {text[:200]!r}; it must be a number, at most {LARGEST:g} either "
                "way, or None."
            )
    return [None if value is None else float(value) for value in values]


def _values(function: RewardFunction, columns: Columns, limit: float, lost: str) -> Any:
    with _within(limit, lost):
        values = function(columns)
        if inspect.isawaitable(values):
            values = asyncio.run(_await(values))
        return list(values) if isinstance(values, Iterable) else values  # a generator works only now


@contextmanager
def _within(seconds: float, lost: str) -> Iterator[None]:
    """Interrupt what runs here after so many seconds, and every second from then on.

    A signal, because it reaches the main thread in loops, sleeps, waits and regular expressions. A function that has
    set the alarm for itself, or is in C that never looks at signals, ends the process with the line `lost`.

    Raises:
        TookTooLong: the time is up.
    """

    def interrupt(*_: object) -> None:
        raise TookTooLong

    last = threading.Timer(seconds + GRACE, end_at_once, [f"RewardError: {lost}", 1])
    last.daemon = True
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            last.start()
            signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
            yield
        finally:  # may itself be interrupted, hence twice
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        last.cancel()


def _culprit(function: RewardFunction, columns: Columns, limit: float) -> str:
    """Ask again one by one to name the sample; a function that fails only on the whole batch names none."""
    for k, (text, gold) in enumerate(zip(columns["completions"], columns["answers"], strict=True)):
        sample = f" for completion {text[:200]!r} with answer {gold and gold[:200]!r}"
        alone = {name: column[k : k + 1] for name, column in columns.items()}
        try:
            _values(function, alone, limit, f"a reward does not return{sample}")
        except (Exception, SystemExit, TookTooLong):
            return sample
    return ""


async def _await(value: Any) -> Any:
    return await value


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) <= LARGEST and not isinstance(value, str)
    except (TypeError, ValueError, OverflowError):
        return False
