"""What a completion says: its answer, and whether it keeps to the asked form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

AnswerRule = Literal["answer-tag", "boxed", "hashes", "last-number"]
ANSWER_RULES: tuple[AnswerRule, ...] = ("answer-tag", "boxed", "hashes", "last-number")

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
# A minus sign after a digit or letter is a subtraction or a range.
_NUMBER = re.compile(r"(?:(?<!\w)-)?(?:\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+|/\d+)?|\.\d+)")
_FULL = re.compile(
    r"<think>(?:(?!</?think>|</?answer>).)*</think>\s*<answer>(?:(?!</?think>|</?answer>).)*</answer>", re.DOTALL
)


def extract_answer(text: str, rules: tuple[AnswerRule, ...] = ANSWER_RULES) -> str | None:
    """Return the answer in a completion by the first rule that finds one, or None."""
    return next((found for rule in rules if (found := _RULES[rule](text)) is not None), None)


def think_answer_format(text: str) -> float:
    """Reward the form `<think>text</think><answer>text</answer>`: 1 in full, else ½ if it begins with `<think>` and
    ends with `</answer>`, ¼ if only one of the two, else 0. Blanks around the parts do not count.

    Source: arXiv:2602.19345, App. A.
    """
    text = text.strip()
    if _FULL.fullmatch(text):
        return 1.0
    return {2: 0.5, 1: 0.25, 0: 0.0}[text.startswith("<think>") + text.endswith("</answer>")]


def digit_share(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Reward the share of digits among the characters: something even an untrained model does differently each time."""
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in completions]


def _last(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def find(text: str) -> str | None:
        found = pattern.findall(text)
        return found[-1].strip() if found else None

    return find


def _boxed(text: str) -> str | None:
    """Return what the last \\boxed{...} holds, braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + len("\\boxed"), len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start + len("\\boxed{") : at].strip()
    return None


_RULES: dict[AnswerRule, Callable[[str], str | None]] = {
    "answer-tag": _last(_TAG),
    "boxed": _boxed,
    "hashes": _last(_HASHES),
    "last-number": _last(_NUMBER),
}
