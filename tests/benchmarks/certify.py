"""How long proofs take, and what else a user could try: python tests/benchmarks/certify.py [--write]

Every proof is measured in a fork of a process that has proved nothing yet, so no gate profits from an earlier one;
contenders take turns; medians. CPU time stands next to wall time, since the machine may be shared.

z3 and cvc5 are no dependencies of the package: pip install -e '.[bench]'
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from importlib.metadata import version
from importlib.util import find_spec
from operator import add, mul
from pathlib import Path
from typing import Any

import sympy
from sympy import Expr

from sapo_gates import FAMILIES, Gate, certify, load_gate
from sapo_gates.derive import formula
from sapo_gates.functions import r
from sapo_gates.gatefile import parse_gate
from sapo_gates.recheck import recheck

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "certify.md"
TEXTBOOK = ("sigmoid", "erf", "arctan", "softsign", "softsign-abs", "tanh", "gaussian-cdf")


@dataclass(frozen=True)
class Taken:
    """Seconds of one measurement, and what came of it."""

    wall: float
    cpu: float
    result: Any


def in_a_fork(work: Callable[[], Any], timeout: float | None = None) -> Taken:
    """Run it once in a child of this process. An error is a result; that of a time-out is None."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def child() -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            result = work()
        except Exception as error:
            result = f"error: {error}"
        sender.send(Taken(time.perf_counter() - wall, time.process_time() - cpu, result))

    process = fork.Process(target=child)
    process.start()
    sender.close()  # the child's end alone is open: its death is seen
    taken = receiver.recv() if receiver.poll(timeout) else Taken(timeout or 0, timeout or 0, None)
    process.kill()
    process.join()
    return taken


def program(*arguments: str) -> Taken:
    """Run a program; its output is the result."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    output = subprocess.run(arguments, capture_output=True, text=True, check=False).stdout
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output)


def median(taken: list[Taken]) -> str:
    """Wall and CPU seconds."""
    return f"{statistics.median(t.wall for t in taken):.3f} | {statistics.median(t.cpu for t in taken):.3f}"


def table(*columns: str) -> Iterator[str]:
    """The head of a Markdown table."""
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


IMPORT = """import time, sympy
wall, cpu = time.perf_counter(), time.process_time()
1 + sympy.Symbol("a")  # sympy loads a part of itself at its first sum
print(time.perf_counter() - wall, time.process_time() - cpu)
wall, cpu = time.perf_counter(), time.process_time()
import sapo_gates
print(time.perf_counter() - wall, time.process_time() - cpu)
wall, cpu = time.perf_counter(), time.process_time()
sapo_gates.FAMILIES
print(time.perf_counter() - wall, time.process_time() - cpu)"""


def processes(repetitions: int) -> Iterator[str]:
    """The whole program, and its import; with compiled files, as an installed package has them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = (str(Path(sys.executable).with_name("sapo-gates")), "certify", "arctan")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        whole, imports = [], []
        for repetition in range(repetitions + 1):
            taken = program(*command), program(sys.executable, "-c", IMPORT)
            if repetition > 0:  # the first compiles
                whole.append(taken[0])
                numbers = [float(number) for number in taken[1].result.split()]
                imports.append([Taken(numbers[k], numbers[k + 1], None) for k in (0, 2, 4)])
    yield from table("process", "wall s", "CPU s", "goal s")
    yield f"| `sapo-gates certify arctan` | {median(whole)} | 1.5 |"
    first, library, built = (median(list(column)) for column in zip(*imports, strict=True))
    yield f"| `import sapo_gates` after `import sympy` and a first sum | {library} | 0.15 |"
    yield f"| that first sum, which loads more of sympy | {first} | |"
    yield f"| `sapo_gates.FAMILIES`, built when it is first asked for | {built} | |"


def families(repetitions: int) -> Iterator[str]:
    """Every named gate: its certificate made, and evaluated again by the checker."""
    yield from table(
        "gate", "verdict", "certify wall s", "CPU s", "recheck wall s", "CPU s", "recheck / certify", "goal s"
    )
    total, slower = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.json"
        for gate in FAMILIES:
            certificate = certify_in_a_fork(gate).result
            certificate.save(path)
            made, checked = [], []
            for _ in range(repetitions):
                made.append(certify_in_a_fork(gate))
                checked.append(in_a_fork(lambda: recheck(path)))
            broken = [t.result for t in checked if t.result is not None]
            ratio = statistics.median(t.cpu for t in checked) / statistics.median(t.cpu for t in made)
            total += statistics.median(t.cpu for t in made)
            slower += [gate.name] if ratio > 1 else []
            says = certificate.verdict + (f"; recheck: {broken[0]}" if broken else "")
            goal = "0.3" if gate.name in TEXTBOOK else ""
            yield f"| {gate.name} | {says} | {median(made)} | {median(checked)} | {ratio:.2f} | {goal} |"
    yield ""
    yield f"All {len(FAMILIES)} take {total:.1f} s of CPU (goal 30 s)."
    yield f"Slower to check than to make: {', '.join(slower) or 'none'}."


def certify_in_a_fork(gate: Gate) -> Taken:
    """Profile `admissible`, both signs of A."""
    return in_a_fork(partial(certify, gate))


# What a user would try instead. Each rival gets the weight and its derivative from us, and denominators cleared.

LIFTED = """[gate]
name = "squared-cauchy, lifted"
weight = "(1 + (r - 1)**2/1000)/(1 + tau**2*(r - 1)**2)**2"
[parameters.tau]
domain = "(0, oo)"
positive = 10
negative = 12
"""
NEEDLE = """[gate]
name = "sigmoid, needle at 37"
weight = "sech(tau*(r - 1)/2)**2 + exp(-(1e6*(r - 37))**2)/1e6"
[parameters.tau]
domain = "(0, oo)"
positive = 10
negative = 12
"""
ON_TRIAL: tuple[tuple[Gate, str], ...] = (
    (load_gate("arctan"), "true"),
    (load_gate("softsign"), "true"),
    (load_gate("erf"), "true"),
    (load_gate("sigmoid"), "true"),
    (parse_gate(LIFTED), "false for small tau only"),
    (parse_gate(NEEDLE), "false"),
)
STATEMENTS = ("unit-peak", "monotone-decay")


def positive_where_broken(gate: Gate, statement: str) -> list[tuple[Expr, int]]:
    """(expression, side): the statement fails where one is > 0 for an r on that side of 1; side 0 is any r > 0."""
    weight: Any = formula(gate, "positive", "weight")
    weight = weight.replace(sympy.sech, lambda x: 2 / (sympy.exp(x) + sympy.exp(-x)))
    if statement == "unit-peak":
        return [(weight - 1, 0)]
    return [(weight.diff(r), 1), (-weight.diff(r), -1)]


def by_sympy(gate: Gate, statement: str) -> str:
    """Signs from assumptions, at r = 1 + u and at r = 1 - u with u > 0, as written, simplified and factored."""
    u = sympy.Symbol("u", positive=True)
    for expression, side in positive_where_broken(gate, statement):
        for direction in (side,) if side else (1, -1):
            shifted = expression.subs(r, 1 + direction * u)
            forms = (lambda e: e, sympy.simplify, sympy.factor, lambda e: sympy.factor(sympy.simplify(e)))
            signs = (form(shifted).is_nonpositive for form in forms)
            sign = next((sign for sign in signs if sign is not None), None)
            if sign is None:
                return "unknown"
            if sign is False:
                return "refuted"
    return "proved"


class Cannot(Exception):
    """The solver's language lacks a function."""


@dataclass(frozen=True)
class Language:
    """How a solver writes terms."""

    number: Callable[[Any], Any]
    variable: Callable[[str], Any]
    exponential: Callable[[Any], Any] | None
    require: Callable[[Any], None]

    def term(self, expression: Any) -> Any:
        """Roots become variables with y >= 0 and y^q = base."""
        if expression.is_Rational:
            return self.number(expression)
        if isinstance(expression, sympy.Symbol):
            return self.variable(expression.name)
        if isinstance(expression, sympy.exp) and self.exponential is not None:
            return self.exponential(self.term(expression.args[0]))
        if expression.is_Add or expression.is_Mul:
            return reduce(add if expression.is_Add else mul, map(self.term, expression.args))
        base: Any
        power: Any
        base, power = expression.as_base_exp()
        if power.is_Rational and power > 0 and power != 1:
            base = self.term(base)
            if power.q != 1:
                root = self.variable(f"root_{power.q}_of_{expression.args[0]}")
                self.require(root >= self.number(sympy.Integer(0)))
                self.require(reduce(mul, [root] * power.q) == base)
                base = root
            return reduce(mul, [base] * power.p)
        raise Cannot(expression.func.__name__)

    def positive(self, expression: Expr) -> Any:
        """The term whose sign is the expression's, free of division: a/b > 0 where a b > 0."""
        above, below = sympy.fraction(sympy.together(expression))
        return self.term(above) * self.term(below)


def by_z3(gate: Gate, statement: str) -> str:
    """z3's default solver."""
    import z3  # pyright: ignore[reportMissingImports]

    return _satisfiable(gate, statement, z3, z3.Solver(), None)


def by_cvc5(gate: Gate, statement: str) -> str:
    """cvc5 over the reals, with exp where there is one."""
    import cvc5.pythonic as cvc5  # pyright: ignore[reportMissingImports]

    transcendental = any(e.has(sympy.exp) for e, _ in positive_where_broken(gate, statement))
    solver = cvc5.SolverFor("QF_NRAT" if transcendental else "QF_NRA")
    if not transcendental:
        solver.set("nl-cov", "true")  # cylindrical coverings, which it has for polynomials only
    return _satisfiable(gate, statement, cvc5, solver, cvc5.Exponential)


def _satisfiable(gate: Gate, statement: str, smt: Any, solver: Any, exponential: Callable[[Any], Any] | None) -> str:
    """The statement's negation, for some r > 0 and tau > 0; z3 and cvc5 share their Python interface."""
    language = Language(lambda q: smt.Q(q.p, q.q), smt.Real, exponential, solver.add)
    ratio, broken = smt.Real("r"), []
    try:
        for expression, side in positive_where_broken(gate, statement):
            fails = language.positive(expression) > 0
            broken.append(smt.And(fails, side * (ratio - 1) > 0) if side else fails)
    except Cannot as error:
        return f"has no {error}"
    solver.add(ratio > 0, smt.Real("tau") > 0, reduce(smt.Or, broken))
    return {"unsat": "proved", "sat": "refuted"}.get(str(solver.check()), "unknown")


RIVALS: dict[str, tuple[str, Callable[[Gate, str], str]]] = {
    "SymPy": ("sympy", by_sympy),
    "z3": ("z3", by_z3),
    "cvc5": ("cvc5", by_cvc5),
}


def ours(gate: Gate) -> dict[str, str]:
    """The verdicts for A > 0."""
    return {entry.id: entry.verdict for entry in certify(gate).requirements if entry.sign == "positive"}


def side_by_side(timeout: float) -> Iterator[str]:
    """The same statements, for every r > 0 and every tau > 0."""
    yield from table("gate", "statement", "`certify`, all requirements", *RIVALS)
    disagree = []
    for gate, truth in ON_TRIAL:
        mine = in_a_fork(partial(ours, gate))
        for statement in STATEMENTS:
            answers = [f"{mine.result[statement]}, {mine.cpu:.2f} s"]
            for name, (module, rival) in RIVALS.items():
                says = _answer(module, partial(rival, gate, statement), timeout)
                answers.append(says)
                if {says.split(",")[0], mine.result[statement]} == {"proved", "refuted"}:
                    disagree.append(f"{name} on {statement} of {gate.name}")
            yield f"| {gate.name} ({truth}) | {statement} | {' | '.join(answers)} |"
    yield ""
    yield f"CPU seconds; time-out {timeout:g} s. Disagreements: {', '.join(disagree) or 'none'}."


def _answer(module: str, rival: Callable[[], str], timeout: float) -> str:
    if find_spec(module) is None:
        return "not installed"
    __import__(module)  # not timed
    taken = in_a_fork(rival, timeout)
    if taken.result is None:
        return "time-out"
    return taken.result if taken.result.startswith(("has no", "error")) else f"{taken.result}, {taken.cpu:.2f} s"


def report(repetitions: int, timeout: float) -> Iterator[str]:
    """The page, line by line as it is measured."""
    yield "# Proofs: how long they take"
    yield ""
    used = {"sympy": "sympy", "python-flint": "flint", "z3-solver": "z3", "cvc5": "cvc5"}
    found = ", ".join(f"{name} {version(name)}" for name, module in used.items() if find_spec(module))
    yield f"Medians of {repetitions} by `python tests/benchmarks/certify.py --write`, on a 2-core x86-64 cloud machine"
    yield f"without GPU, shared with other work (load average {os.getloadavg()[0]:.1f} at the start): CPU time is what"
    yield "compares. Every proof runs in a process that has proved nothing before."
    yield f"Python {platform.python_version()}, {found}."
    yield from ("", "## The program", "")
    yield from processes(repetitions)
    yield from ("", "## Every family, profile `admissible`, both signs", "")
    yield from families(repetitions)
    yield from ("", "## What one would try instead", "")
    yield "The same two statements for every r > 0 and every τ > 0 (A > 0). The rivals get w and w′ written out, over"
    yield "one denominator; SymPy gets r = 1 ± u, u > 0. `certify` answers both statements and the other two, for both"
    yield "signs, with a certificate; a solver's `unsat` comes without one."
    yield ""
    yield from side_by_side(timeout)


def main() -> None:
    """Print the page, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=20, help="seconds a rival may take for a statement")
    parser.add_argument("--write", action="store_true", help=f"also write {PAGE.relative_to(PAGE.parents[2])}")
    options = parser.parse_args()
    lines = []
    for line in report(options.repetitions, options.timeout):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
