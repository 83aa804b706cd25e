"""What holds on a section, leaf by leaf, and where its formulas go at r -> 0 and r -> oo.

Claims, each of the weight w (or the value f) on every leaf of a section; w is first shown to be continuous there, since
a sign of w' says nothing about a w that jumps, as atan(1/(r - 3)) does:

    weight defined, value defined     no more than that
    nonnegative     w >= 0            `bound`: by its range
    at most one     w <= 1            `bound`; or w falls away from a place where w <= 1: from r = 1 (the rules of decay
                                      on a leaf that starts there) or from the leaf's own start (`falls-` and a rule)
    decay           w does not grow away from r = 1, by the sign of
        derivative, terms, inverse    w', as it comes, term by term, or spelled in s = 1/t
        log-derivative                w'/w, where w > 0
        anchor-k                      the k-th derivative, where all before it vanish at the end that the leaf touches:
                                      w' is then its (k-1)-fold integral from there
        fraction-k                    the denominator of w'/w as one fraction, where w > 0, and its numerator's k-th
                                      derivative in the same way; next to a removable singularity (so too for w itself
                                      in `nonnegative`)
        each                          every term's w' by one of these
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Pow, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import Box, Range, covers, enclose, everywhere, is_defined, rational, spans
from sapo_gates.recheck.cells import BEYOND, Branch, S, Section, end_of_range, require, value_at
from sapo_gates.recheck.formulas import log_slope, slope, slope_by_terms
from sapo_gates.recheck.identities import centred, quotient, same
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.spans import Span, Undefined, span_of

Entry = Mapping[str, Any]
FRACTIONS = ("fraction-1", "fraction-2", "fraction-3", "fraction-4")
DECAY = ("derivative", "log-derivative", "terms", "inverse", "each", "anchor-2", "anchor-3", "anchor-4", *FRACTIONS)
ENTIRE = (sympy.exp, sympy.tanh, sympy.sech, sympy.cosh, sympy.sinh, sympy.atan, sympy.erf, sympy.erfc)


def claim(branch: Branch, section: Section, name: str, entry: Entry) -> None:
    """The claim holds on every leaf of the entry, and the leaves are the section, over all parameters it needs."""
    form = Form(section, branch.read(entry["weight"], section.t))
    require(section.eliminates not in form.weight.free_symbols, "the weight depends on {}", section.eliminates)
    require(same(branch.on(section, "weight"), form.weight), "the weight is not {}", entry["weight"])
    if "inverse" in entry:
        form.spell_in_inverse(branch.read(entry["inverse"], form.s))
    subject = branch.on(section, "value") if name == "value defined" else form.weight
    leaves: Sequence[Entry] = entry["leaves"]
    named = {str(symbol): symbol for symbol in section.box}
    spanned = [named[key] for key in leaves[0]["box"]] if leaves else []
    require(subject.free_symbols | {section.t} <= set(spanned), "the leaves do not span {}", subject.free_symbols)
    whole = [section.box[symbol] for symbol in spanned]
    boxes = []
    for leaf in leaves:
        require(set(leaf["box"]) == {str(symbol) for symbol in spanned}, "a leaf spans other symbols than the first")
        box = {}
        for symbol, all_of_it in zip(spanned, whole, strict=True):
            low, high = map(end_of_range, leaf["box"][str(symbol)])
            inside = all_of_it.low <= low <= high <= all_of_it.high
            require(inside, "the leaf {} in [{}, {}] leaves the section", symbol, low, high)
            box[symbol] = Range(low, high, low > all_of_it.low or all_of_it.low_in,
                                high < all_of_it.high or all_of_it.high_in)  # fmt: skip
        require(_holds(branch, form, name, leaf["rule"], box), "{}: leaf {} is not shown by {!r}", name, leaf["box"],
                leaf["rule"])  # fmt: skip
        boxes.append([box[symbol] for symbol in spanned])
    require(covers(boxes, whole), "{}: the leaves do not fit the section from {} to {}", name, section.lower,
            section.upper)  # fmt: skip


def _holds(branch: Branch, form: "Form", name: str, rule: str, box: Box) -> bool:
    try:
        if name == "value defined":
            value = branch.on(form.section, "value")
            return rule == "defined" and continuous(value, value, box, form.t)
        if not continuous(branch.on(form.section, "weight"), form.weight, {**form.section.cell, **box}, form.t):
            return False
        match name:
            case "weight defined":
                return rule == "defined"
            case "nonnegative" if rule in FRACTIONS:
                return form.by_fraction(form.weight, rule, box, 1)
            case "nonnegative":
                return rule == "bound" and bool(form.image("weight")(spans(box)).low >= 0)
            case "at most one":
                return form.below_one(rule, box)
        return name == "decay" and form.decays(rule, box)
    except Undefined:
        return False


def continuous(expression: Expr, spelled: Expr, box: Box, t: Symbol) -> bool:
    """Whether the expression is defined and continuous on the box, removable singularities filled.

    Where its own enclosure fails, an equal spelling may have one. Provided that no root or logarithm in the expression
    can meet a number it does not take, only denominators vanish; if the zeros of each are isolated, because one of its
    derivatives has none, then the spelling is the limit there.
    """
    if is_defined(expression, box):
        return True
    if spelled == expression or not is_defined(spelled, box):
        return False
    nodes: Iterator[Any] = sympy.preorder_traversal(expression)
    return all(_harmless(node, t, box) for node in nodes)


def _harmless(node: Any, t: Symbol, box: Box) -> bool:
    condition = restricted(node)
    if condition is not None:
        inner, or_zero = condition
        return everywhere(inner, box, lambda x: x.is_positive or (or_zero and x.low >= 0))
    if isinstance(node, ENTIRE):
        return is_defined(cast(Expr, node.args[0]), box)
    if isinstance(node, Pow) and node.exp.is_negative:
        slopes = [node.base]
        for _ in range(3):
            slopes.append(slope(slopes[-1], t))
        return any(everywhere(one, box, lambda x: x.is_positive or x.is_negative) for one in slopes)
    return isinstance(node, sympy.Add | sympy.Mul | Pow | Symbol) or node.is_number


def restricted(node: Any) -> tuple[Expr, bool] | None:
    """For a root, general power or logarithm: what must be positive, and whether 0 will do."""
    if isinstance(node, sympy.log):
        return cast(Expr, node.args[0]), False
    if isinstance(node, Pow) and not node.exp.is_Integer and node.base is not sympy.E:
        return node.base, bool(node.exp.is_Rational and node.exp.is_positive)
    return None


class Form:
    """One spelling of the weight on one section, its derivatives and their enclosures."""

    def __init__(self, section: Section, weight: Expr) -> None:
        """The weight is a formula in the section's t."""
        self.section, self.t, self.weight = section, section.t, weight
        self.s = S if section.outward > 0 else BEYOND
        self.slopes = [weight]
        self.images: dict[str, Callable[[Mapping[Symbol, Span]], Span]] = {}
        self.fractions: dict[tuple[Expr, Fraction], tuple[list[Expr], Expr]] = {}

    def spell_in_inverse(self, inverse: Expr) -> None:
        """w' in s = 1/t, checked to be it."""
        require(same(substitute(self.slope(1), {self.t: 1 / self.s}), inverse), "w' is not {}", inverse)
        self.images["inverse"] = span_of(inverse)

    def slope(self, k: int) -> Expr:
        """w, w', w'', ..."""
        while len(self.slopes) <= k:
            self.slopes.append(slope(self.slopes[-1], self.t))
        return self.slopes[k]

    @cached_property
    def log_slope(self) -> Expr:
        """w'/w."""
        return log_slope(self.weight, self.t)

    def image(self, name: str) -> Callable[[Mapping[Symbol, Span]], Span]:
        """The enclosure of `weight`, `excess`, `derivative`, `log-derivative` or `terms`."""
        if name not in self.images:
            make: dict[str, Callable[[], Expr]] = {
                "weight": lambda: self.weight,
                "excess": lambda: self.weight - 1,
                "derivative": lambda: self.slope(1),
                "log-derivative": lambda: self.log_slope,
                "terms": lambda: slope_by_terms(self.weight, self.t),
            }
            require(name in make, "no rule {!r}", name)
            self.images[name] = span_of(make[name]())
        return self.images[name]

    def decays(self, rule: str, leaf: Box) -> bool:
        """Whether w, continuous on the leaf, does not grow away from r = 1 there, by the rule."""
        require(rule in DECAY, "no rule {!r}", rule)
        outward, k = self.section.outward, int(rule[-1]) if rule[-1].isdigit() else 0
        if rule == "each":
            return all(term.decays_somehow(leaf) for term in self.terms)
        if rule.startswith("anchor-"):
            slopes = [self.slope(j) for j in range(1, k + 1)]
            return any(self._anchored(slopes, end, leaf, -outward) for end in self.ends(leaf))
        if rule in FRACTIONS:
            return self.image("weight")(spans(leaf)).is_positive and self.by_fraction(
                self.log_slope, rule, leaf, -outward
            )
        box = spans(leaf)
        if rule == "inverse":
            box[self.s] = box[self.t].reciprocal()
            if not (box[self.s].is_positive if self.s is S else box[self.s].is_negative):
                return False  # the spelling is read for an s of this sign
        if rule == "log-derivative" and not self.image("weight")(box).is_positive:
            return False
        found = self.image(rule)(box)
        return bool(found.high <= 0 if outward > 0 else found.low >= 0)

    @cached_property
    def terms(self) -> "list[Form]":
        """Every term of the weight as a weight of its own."""
        return [Form(self.section, term) for term in Add.make_args(self.weight)]

    def decays_somehow(self, leaf: Box) -> bool:
        """By one of the rules that may settle a single term."""
        for rule in ("derivative", "log-derivative", *FRACTIONS):
            try:
                self.image("weight")(spans(leaf))  # continuous on the leaf
                if self.decays(rule, leaf):
                    return True
            except Undefined:
                continue
        return False

    def ends(self, leaf: Box) -> list[Fraction]:
        """The section's finite ends that the leaf touches."""
        whole, part = self.section.t_range, leaf[self.t]
        touched = [end for end, own in ((whole.low, part.low), (whole.high, part.high)) if end == own]
        return [end for end in touched if isinstance(end, Fraction)]

    def by_fraction(self, formula: Expr, rule: str, leaf: Box, sign: int) -> bool:
        """sign * formula >= 0: as N/D, D of one sign on the leaf and N, N', ... anchored at its end."""
        for end in self.ends(leaf):
            chain, bottom = self._fraction(formula, int(rule[-1]), end)
            below = enclose(bottom, leaf)
            signed = sign if below.is_positive else -sign if below.is_negative else 0
            if signed and self._anchored(chain, end, leaf, signed):
                return True
        return False

    def _fraction(self, formula: Expr, k: int, end: Fraction) -> tuple[list[Expr], Expr]:
        """N, N', ..., N^(k) in powers of the distance from that end, and D."""
        if (formula, end) not in self.fractions:
            top, bottom = quotient(formula)
            self.fractions[formula, end] = [centred(top, self.t, rational(end))], bottom
        chain, bottom = self.fractions[formula, end]
        while len(chain) <= k:
            chain.append(centred(slope(chain[-1], self.t), self.t, rational(end)))
        return chain[: k + 1], bottom

    def _anchored(self, chain: Sequence[Expr], end: Fraction, leaf: Box, sign: int) -> bool:
        """sign * g >= 0 for a chain g, g', ..., g^(m): all but the last vanish at the end, so that the last decides."""
        closed = {**leaf, self.t: Range(leaf[self.t].low, leaf[self.t].high, True, True)}
        try:
            for lower in chain[:-1]:
                require(same(value_at(lower, self.t, rational(end), self.section.cell), Integer(0)), "")
                enclose(lower, closed)  # continuous up to the end: the last may then be integrated m times
            highest = enclose(chain[-1], closed)
        except (Undefined, RecheckFailed):
            return False
        # integrated from the lower end the sign stays; from the upper end it flips m times
        flips = sign * (1 if end == self.section.t_range.low or len(chain) % 2 == 1 else -1)
        return bool((highest if flips > 0 else -highest).low >= 0)

    def below_one(self, rule: str, leaf: Box) -> bool:
        """Whether w <= 1 on the leaf: by its range, or falling from a place where w <= 1."""
        if rule == "bound":
            return bool(self.image("excess")(spans(leaf)).high <= 0)
        right = self.section.outward > 0
        whole, part = self.section.t_range, leaf[self.t]
        start = part.low if right else part.high
        if rule.startswith("falls-") and not isinstance(start, float):
            there = {**leaf, self.t: Range(start, start, True, True)}
            return enclose(self.weight - 1, there).high <= 0 and self.decays(rule.removeprefix("falls-"), leaf)
        return self.section.touches_one and start == (whole.low if right else whole.high) and self.decays(rule, leaf)


# Ends ----------------------------------------------------------------------------------------------------------------


Judge = Callable[[str, Limit], bool]


def at_end(branch: Branch, section: Section, terms: Sequence[Entry], quantity: Kind, judge: Judge) -> None:
    """Every term passes the judge by its limit at r -> 0 (in a cell's first section) or r -> oo (in its last).

    The terms add up to the value, or to the weight (also where the quantity is the score weight: each is then taken
    times r). Rule `limit`: where the term goes; `slope`: where d log |r term|/d log r goes, and if that is p, r times
    the term goes like r^p up to slower factors.
    """
    own, factor = branch.on(section, "value" if quantity == "value" else "weight"), Integer(1)
    if quantity == "score":
        factor = section.ratio
    summands = [branch.read(one["term"], section.t) for one in terms]
    require(same(Add(*summands), own), "the terms do not add up to {}", own)
    for term, one in zip(summands, terms, strict=True):
        require(one["rule"] in ("limit", "slope"), "no rule {!r}", one["rule"])
        subject = factor * term if one["rule"] == "limit" else score_slope(section, term)
        found = limit_by(branch, section, subject, one["form"])
        require(judge(one["rule"], found), "the {} of {} at the end is not as it should be", one["rule"], term)


def limit_by(branch: Branch, section: Section, subject: Expr, text: str, box: Box | None = None) -> Limit:
    """Its limit at the section's infinite end or at r = 0, by a form in t or in s = 1/t that is checked to be it."""
    form, inverse = spelled(branch, section, subject, text)
    within = spans(section.cell if box is None else box)
    if section.upper is sympy.oo:
        return limit(form, S, ABOVE, within) if inverse else limit(form, section.t, UP, within)
    require(not inverse and section.lower in (0, -sympy.oo), "the section ends neither at r = 0 nor at r = oo")
    return limit(form, section.t, ABOVE if section.t_range.low == 0 else DOWN, within)


def spelled(branch: Branch, section: Section, expression: Expr, text: str) -> tuple[Expr, bool]:
    """A form in t, or (True) in s = 1/t, that is checked to be the expression."""
    form = branch.read(text, section.t, S)
    inverse = S in form.free_symbols
    require(not (inverse and section.t in form.free_symbols), "{} mixes s and {}", text, section.t)
    own = substitute(expression, {section.t: 1 / S}) if inverse else expression
    require(same(own, form), "{} is not {}", expression, text)
    return form, inverse


def score_slope(section: Section, term: Expr) -> Expr:
    """d log |r term| / d log r: where it tends to p, r times the term goes like r^p, p not 0."""
    return 1 + section.ratio / slope(section.ratio, section.t) * log_slope(term, section.t)
