"""Sorting the completions of an evaluation: right, equally wrong, or without an answer."""

from __future__ import annotations

from collections.abc import Sequence

from sapo_train.rewards.equivalence import equivalences
from sapo_train.rewards.text import AnswerRule, extract_answer


def judge(problems: Sequence[tuple[Sequence[str], str]], rules: tuple[AnswerRule, ...]) -> list[list[int]]:
    """Sort the completions of each problem by their answers.

    Args:
        problems: completions and the right answer of each.
        rules: where the answer stands.

    Returns:
        For each completion 0 if it is right, a number from 1 that equal wrong answers share, or -1 without an answer.
    """
    answers = [[extract_answer(text, rules) for text in texts] for texts, _ in problems]
    distinct = [list(dict.fromkeys(a for a in mine if a is not None)) for mine in answers]
    asked = [(a, gold) for mine, (_, gold) in zip(distinct, problems, strict=True) for a in mine]
    verdicts = iter(equivalences(asked))
    classes = []
    for mine, different in zip(answers, distinct, strict=True):
        right = {answer for answer in different if next(verdicts)}
        number = wrong_classes([answer for answer in different if answer not in right])
        classes.append([-1 if a is None else 0 if a in right else number[a] for a in mine])
    return classes


def wrong_classes(answers: Sequence[str]) -> dict[str, int]:
    """Number answers from 1 so that those that are equivalent to the first of a class share its number."""
    firsts: list[str] = []
    number = {}
    for answer in answers:
        same = [*equivalences([(answer, first) for first in firsts]), True]
        if same.index(True) == len(firsts):
            firsts.append(answer)
        number[answer] = 1 + same.index(True)
    return number
