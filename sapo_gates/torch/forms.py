"""Of the ways to write a formula, the one that computes well: measured, not assumed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice, product
from types import ModuleType
from typing import Any

import sympy
import torch
from sympy import Expr, Piecewise, Rational, Symbol
from torch import Tensor

from sapo_gates.functions import r, z
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import zeros
from sapo_gates.torch import runtime, wide
from sapo_gates.torch.generate import coarsened, function_source, hoisted, in_exponentials, rewritings, with_inverses, x
from sapo_gates.torch.reference import ball_function, two_floats, value_at
from sapo_gates.torch.runtime import Formula, Plain
from sapo_gates.verdict import SIGNS, Sign

_SIZES = (1e-30, 1e-9, 1e-4, 0.01, 0.07, 0.2, 0.31, 0.7, 1.3, 3, 6, 11, 17, 40, 90, 300, 700, 1e4)
_PROBES = [sign * size for size in _SIZES for sign in (1, -1)]
_GOOD = 1e-14  # relative: 4 ulp of float64 are 9e-16, a cancellation costs far more
_LIMITS = (350.0, 110.0)  # r^2 stays finite; every float32 beyond is 0 or infinite in r
_QUICK_WAYS = 4  # of a formula with parameters left in it: simplifying those takes seconds

COARSE_EXP_OFF = 0.6 * 2.0**-24  # relative; measured: 0.55 * 2^-24
COARSE_ATAN_OFF = 2.5 * 2.0**-24  # relative; measured: 2.42 * 2^-24
COARSE_ERF_OFF = 7.5 * 2.0**-24  # absolute; measured: 6.92 * 2^-24

_TRUE = torch.tensor(True)

Names = Mapping[str, Any]


def names(module: ModuleType) -> dict[str, Any]:
    """Everything a module defines, but not its own name: torch.compile would look for the rest there."""
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def best_wide(name: str, expression: Expr) -> tuple[str, Formula]:
    """The first way of writing the formula that is exact to nearly float64 in Wide numbers, or the most exact."""
    exact = _references(expression)
    measured: list[tuple[float, str, Formula]] = []
    points = _singular(expression)
    for rewritten in rewritings(expression):
        source, formula = wide_formula(name, rewritten)
        undefined = [point for point in points if runtime.wide(formula, _place(point)).isnan()]
        if undefined:
            source, formula = wide_formula(name, _filled(rewritten, expression, undefined))
        error = _error(formula, exact)
        if error < _GOOD:
            return source, formula
        measured.append((error, source, formula))
    _, source, formula = min(measured, key=lambda entry: entry[0])
    return source, formula


def wide_formula(name: str, expression: Expr, known: Names | None = None) -> tuple[str, Formula]:
    """The expression as source and as what that defines."""
    source, needs = function_source(name, [expression])
    return source, Formula(_loaded(name, source, known), needs, sha256(source.encode()).hexdigest()[:16])


def _loaded(name: str, source: str, known: Names | None) -> Any:
    namespace = {**names(wide), **(known or {})}
    exec(source, namespace)
    return namespace[name]


def _filled(rewritten: Expr, expression: Expr, points: Sequence[Expr]) -> Expr:
    """Removable singularities, such as that of sin(x)/x, filled by their limits."""
    filled: Any = rewritten
    for point in points:
        limit = sympy.limit(expression, r, point)
        if limit.is_finite:
            there = sympy.Abs(x) <= 0 if point == 1 else sympy.Abs(z - sympy.log(point)) <= 0
            filled = Piecewise((limit, there), (filled, True))
    return filled


def _singular(expression: Expr) -> list[Expr]:
    """Every r > 0 with a float64 for logarithm at which a denominator is 0."""
    below = {power.base for power in expression.atoms(sympy.Pow) if power.exp.is_negative and power.base.has(r)}
    found: set[Expr] = set()
    for denominator in below:
        try:
            found |= {point for point in zeros(denominator, r) if point.is_positive}
        except Unsupported:
            continue
    return sorted((point for point in found if sympy.log(point).is_rational), key=sympy.default_sort_key)


def _place(point: Expr) -> Tensor:
    return torch.tensor(float(sympy.log(point)), dtype=torch.float64)


def _references(expression: Expr) -> list[tuple[float, float]]:
    """(z, true value) at the probes, where the true value is a float64 that is neither tiny nor infinite."""
    ball = ball_function(expression)
    known = [(at, two_floats(value_at(ball, at))[0]) for at in _PROBES]
    return [(at, value) for at, value in known if 1e-290 < abs(value) < 1e300]


def _error(formula: Formula, exact: list[tuple[float, float]]) -> float:
    """The worst relative error in Wide numbers."""
    if not exact:
        return 0.0
    at, true = torch.tensor(exact, dtype=torch.float64).unbind(1)
    error = ((runtime.wide(formula, at) - true) / true).abs()
    return torch.nan_to_num(error, nan=torch.inf).max().item()


def line() -> Tensor:
    """Log-ratios over the whole line of float32, closest where gates bend; few enough for one thread."""
    parts = torch.linspace(0, 3, 1000), torch.linspace(3, 20, 500), torch.linspace(20, 120, 100)
    sizes = torch.cat([*parts, torch.logspace(-44, 38, 300), torch.tensor([torch.inf])])
    return torch.cat([sizes, -sizes]).to(torch.float64)


def best_plain(
    name: str,
    expressions: Sequence[Expr],
    numbers: Mapping[Sign, Mapping[Symbol, Rational]],
    truths: Mapping[Sign, Sequence[Tensor]],
    known: Names | None = None,
    *,
    quick: bool = False,
) -> tuple[str, Plain] | None:
    """The quantities of one part in float64 so that float32 inputs see no difference to Wide numbers on the line.

    Args:
        name: of the function.
        expressions: one for each quantity; parameters that differ between the signs may stand in them.
        numbers: the values of these parameters.
        truths: what Wide numbers give on the line, for each sign and quantity.
        known: functions of z that the formulas call.
        quick: whether to look for a quick form too.

    Returns:
        source and what it defines, or None: no way of writing them does.
    """
    chosen: list[Expr] = []
    limit, x_from_r = _LIMITS[0], True
    for at, expression in enumerate(expressions):
        truth: dict[Sign, list[Tensor]] = {sign: [truths[sign][at]] for sign in truths}
        found = _first_way(name, expression, numbers, truth, known)
        if found is None:
            return None
        way, own_limit, own_x_from_r = found
        chosen.append(way)
        limit, x_from_r = min(limit, own_limit), x_from_r and own_x_from_r
    source, form = plain_form(name, chosen, numbers, limit, x_from_r=x_from_r, known=known)
    if not _close(form, truths):
        return None
    form = _with_single(form, list(truths))
    if not quick:
        return source, form
    return _with_quick(name, source, form, chosen, numbers, truths, x_from_r=x_from_r, known=known)


def _with_single(form: Plain, signs: Sequence[Sign]) -> Plain:
    """And the dtypes for which it is right in float32 too, where r goes no further than SINGLE_LIMIT."""
    end, sign = runtime.SINGLE_LIMIT, torch.tensor(signs[0] == SIGNS[0])
    beyond = torch.tensor([end + 1, end + 2], dtype=torch.float64)
    both = zip(runtime.plain(form, beyond, sign), runtime.plain(replace(form, limit=end), beyond, sign), strict=True)
    powers = [(true / kept).log().diff().item() for true, kept in both]
    form = replace(form, powers=tuple(round(power, 6) if math.isfinite(power) else 0.0 for power in powers))
    right = (dtype for dtype in _RELATIVE if dtype != torch.float32 and _good_enough(form, dtype, signs))
    return replace(form, single_for=tuple(right))


def _with_quick(
    name: str, source: str, form: Plain, chosen: Sequence[Expr], numbers: Any, signs: Iterable[Sign], **how: Any
) -> tuple[str, Plain]:
    """And what is quick of a quick r, with coarse functions or else without, if that is right to 2 ulp for float32.

    A formula that jumps is not, for at its corners a quick r may be on the other side.
    """
    if any(expression.has(Piecewise, sympy.sign) for expression in chosen):
        return source, form
    right = lambda function: _good_enough(replace(form, quick=function), torch.float32, signs)  # noqa: E731
    quick_name = f"{name}quick_"
    quick_source, quick = plain_form(quick_name, chosen, numbers, form.limit, coarse=True, **how)
    functions = [quick.function]
    for exp, erf, atan in product((1, -1), repeat=3):
        worst = {
            "coarse_exp": lambda u, off=exp * COARSE_EXP_OFF: torch.exp(u) * (1 + off),
            "coarse_erf": lambda u, bell, off=erf * COARSE_ERF_OFF: torch.erf(u) + off,
            "coarse_atan": lambda u, off=atan * COARSE_ATAN_OFF: torch.atan(u) * (1 + off),
        }
        functions.append(_loaded(quick_name, quick_source, {**(how["known"] or {}), **worst}))
    fits = "coarse_" in quick_source and (quick.needs, quick.constants) == (form.needs, form.constants)
    if fits and all(map(right, functions)):
        return f"{source}\n\n{quick_source}", replace(form, quick=quick.function)
    return source, replace(form, quick=form.function) if "r" in form.needs and right(form.function) else form


_RELATIVE = {torch.float32: 1.501 * 2.0**-24, torch.bfloat16: 2.0**-14, torch.float16: 2.0**-14}
"""How far off the unrounded result may be: 3/2 ulp of float32, little beside the rounding to 16 bits."""


def _good_enough(form: Plain, dtype: torch.dtype, signs: Iterable[Sign]) -> bool:
    """Whether inputs of that dtype see nearly what it gives in float64.

    Quickly on the line for float32, in float32 at every number of the others.
    """
    at, quickly = line(), dtype == torch.float32
    if not quickly:
        every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype).float()
        at = every[~every.isnan()]
    tiny = torch.finfo(dtype).tiny * torch.finfo(dtype).eps / 16
    for sign in (torch.tensor(sign == SIGNS[0]) for sign in signs):
        exact = runtime.plain(form, at.double(), sign)
        for mine, true in zip(runtime.plain(form, at, sign, quickly), exact, strict=True):
            close = (mine - true).abs() <= _RELATIVE[dtype] * true.abs() + tiny
            if not ((close & true.isfinite()) | (mine == true) | (mine.to(dtype) == true.to(dtype))).all():
                return False
    return True


def _first_way(
    name: str, expression: Expr, numbers: Any, truth: Mapping[Sign, Sequence[Tensor]], known: Names | None
) -> tuple[Expr, float, bool] | None:
    points = _singular(expression)
    for way in _ways(expression):
        for limit in _LIMITS:
            for x_from_r in (True, False):
                chosen = way
                _, form = plain_form(name, [way], numbers, limit, x_from_r=x_from_r, known=known)
                undefined = [at for at in points if any(one.isnan() for one in runtime.plain(form, _place(at), _TRUE))]
                if undefined:
                    chosen = _filled(way, expression, undefined)
                    _, form = plain_form(name, [chosen], numbers, limit, x_from_r=x_from_r, known=known)
                if _close(form, truth):
                    return chosen, limit, x_from_r
    return None


def _ways(expression: Expr) -> Iterator[Expr]:
    """Without parameters, all; with some, those that are quickly made. Exponentials are the fastest."""
    made = islice(rewritings(expression), None if expression.free_symbols <= {r} else _QUICK_WAYS - 1)
    for number, way in enumerate(made):
        quick = in_exponentials(way)
        if number == 0 and quick != way:
            yield quick
        yield way


def plain_form(
    name: str,
    expressions: Sequence[Expr],
    numbers: Mapping[Sign, Mapping[Symbol, Rational]],
    limit: float,
    *,
    x_from_r: bool,
    known: Names | None,
    coarse: bool = False,
) -> tuple[str, Plain]:
    """The expressions, in x, r, z, as source and as what that defines."""
    symbols: dict[Expr, Symbol] = {}
    bare = [with_inverses(hoisted(expression, symbols)) for expression in expressions]
    if coarse:
        bare = [with_inverses(hoisted(coarsened(expression), symbols)) for expression in expressions]
    constants = tuple(
        (_float(constant, numbers["positive"]), _float(constant, numbers["negative"])) for constant in symbols
    )
    for spread_nan in (False, True):
        source, needs = function_source(name, bare, tuple(symbols.values()), x_from_r=x_from_r, spread_nan=spread_nan)
        form = Plain(_loaded(name, source, known), needs, limit, constants)
        nan = torch.full((1,), torch.nan, dtype=torch.float64)
        if all(isinstance(one, Tensor) and one.isnan().all() for one in runtime.plain(form, nan, nan > 0)):
            break
    return source, form  # type: ignore[reportPossiblyUnbound]


def _float(constant: Expr, numbers: Mapping[Symbol, Rational]) -> float:
    return float(sympy.N(constant.xreplace(dict(numbers)), 30))


def _close(form: Plain, truths: Mapping[Sign, Sequence[Tensor]]) -> bool:
    """Whether it is at both signs what Wide numbers give."""
    at = line()
    for sign in truths:
        for quick, true in zip(runtime.plain(form, at, torch.tensor(sign == SIGNS[0])), truths[sign], strict=True):
            close = (quick - true).abs() <= 2**-28 * true.abs() + 1e-48  # float32 counts in steps of 1.4e-45
            same = (close & torch.isfinite(true)) | (quick.float() == true.float())
            same |= torch.isnan(quick) & torch.isnan(true)
            if not same.all():
                return False
    return True
