"""What any gate would have done to the tokens of a run: the log-ratios it kept, gated again.

The trainer keeps log-ratios in RUN/ratios/step-N.safetensors, token by token, each as it was before the update that
used it. Replay takes those of the last epoch, at the run's ratio level. A minibatch whose loss was not finite is kept
in RUN/failures/step-N.safetensors in the same format, up to and with the epoch that failed.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from sapo_analysis.curves import label
from sapo_analysis.errors import RunError
from sapo_analysis.evaluate import Array
from sapo_analysis.style import PAGE, PALE, colour, dashes, house_style
from sapo_gates import Gate, certify
from sapo_gates.datasheet import log_curvature
from sapo_gates.torch import surrogate

FORMAT = "sapo-ratios/1"
TENSORS = ("counts", "log_ratio", "offsets", "advantages", "group")
OF_FAILURES = ("rows", "log_probs", "old_log_probs")
TOP_SHARE = 0.01
CONTEXT = 8  # pieces shown before a token


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A token that counts and whose log-ratio is not finite; gates are asked nothing about it."""

    step: int
    row: int  # the completion in samples/step-N.jsonl, from 0
    place: int
    token: str
    before: str
    log_ratio: float
    log_prob: float | None  # new and old, of a failed minibatch
    old_log_prob: float | None


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens that count in a run's kept completions, N of them in C completions of P prompts."""

    log_ratio: Array  # [N] in nats, at the run's ratio level
    token_log_ratio: Array  # [N] in nats, each token's own
    advantage: Array  # [N]
    completion: NDArray[np.int64]  # [N], 0 ... C - 1
    row: NDArray[np.int64]  # [N], the completion's place in its batch, as in samples/step-N.jsonl
    prompt: NDArray[np.int64]  # [N]
    place: NDArray[np.int64]  # [N], where in its completion the token stands
    step: NDArray[np.int64]  # [N], the batch step it was sampled in
    pieces: tuple[tuple[str, ...], ...]  # of each completion
    ratio_level: str
    broken: tuple[Broken, ...] = ()
    failures: tuple[dict[str, Any], ...] = ()  # why a minibatch was kept, as its file says

    def context(self, index: int) -> tuple[str, str]:
        """The token's own text, and the text just before it."""
        return _context(self.pieces[self.completion[index]], int(self.place[index]))


def _context(pieces: Sequence[str], place: int) -> tuple[str, str]:
    return pieces[place], "".join(pieces[max(0, place - CONTEXT) : place])


def load_tokens(kept: Path, config: Mapping[str, Any]) -> Tokens:
    """Read what a run kept for replay: all log-ratios of its folder, or one file of them.

    Raises:
        RunError: nothing was kept, or a file is damaged.
    """
    files = kept.glob("ratios/step-*.safetensors")
    paths = [kept] if kept.is_file() else sorted(files, key=lambda path: int(path.stem.removeprefix("step-")))
    if not paths:
        failed = sorted(kept.glob("failures/*.safetensors"))
        also = f"; of its failure replay {failed[-1]}" if failed else ""
        raise RunError(f"{kept} kept no log-ratios: ratios/ holds none; train with ratios.every of 1 or more{also}.")
    level = str((config.get("objective") or {}).get("ratio_level", "token"))
    columns: dict[str, list[Array]] = {name: [] for name in ("own", "level", "a", "c", "row", "p", "place", "step")}
    pieces: list[tuple[str, ...]] = []
    broken: list[Broken] = []
    failures: list[dict[str, Any]] = []
    prompts = 0
    for path in paths:
        found, texts, about = _read(path)
        step, bounds = int(about["step"]), found["offsets"]
        if "failure" in about:
            failures.append({"step": step, **json.loads(about["failure"])})
        for c, (start, end) in enumerate(pairwise(bounds)):
            row = int(found["rows"][c]) if "rows" in found else c
            counts = found["counts"][start:end].astype(bool)
            own = found["log_ratio"][-1, start:end].astype(float)
            mine = [_broken(found, start + at, step, row, at, texts[c]) for at in _not_finite(own, counts)]
            broken += mine
            good = counts & np.isfinite(own)
            if mine and level != "token":  # its ratio is made of all its tokens
                good[:] = False
            own, size = own[good], int(good.sum())
            columns["own"].append(own)
            columns["level"].append(_at_level(own, level))
            columns["a"].append(np.full(size, found["advantages"][c], float))
            columns["c"].append(np.full(size, len(pieces)))
            columns["row"].append(np.full(size, row))
            columns["p"].append(np.full(size, prompts + found["group"][c]))
            columns["place"].append(np.flatnonzero(good).astype(float))
            columns["step"].append(np.full(size, step))
            pieces.append(texts[c])
        prompts += int(found["group"].max()) + 1
    own, at_level, a, c, row, p, place, steps = (np.concatenate(columns[name]) for name in columns)
    if not len(own) and not broken:
        raise RunError(f"{kept} holds no token that counts; every kept completion was masked.")
    return Tokens(
        log_ratio=at_level,
        token_log_ratio=own,
        advantage=a,
        completion=c.astype(np.int64),
        row=row.astype(np.int64),
        prompt=p.astype(np.int64),
        place=place.astype(np.int64),
        step=steps.astype(np.int64),
        pieces=tuple(pieces),
        ratio_level=level,
        broken=tuple(broken),
        failures=tuple(failures),
    )


def _not_finite(own: Array, counts: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(counts & ~np.isfinite(own)).tolist()


def _broken(
    found: Mapping[str, NDArray[Any]], at: int, step: int, row: int, place: int, pieces: Sequence[str]
) -> Broken:
    token, before = _context(pieces, place)
    probs = [float(found[name][at]) if name in found else None for name in ("log_probs", "old_log_probs")]
    return Broken(
        step=step,
        row=row,
        place=place,
        token=token,
        before=before,
        log_ratio=float(found["log_ratio"][-1, at]),
        log_prob=probs[0],
        old_log_prob=probs[1],
    )


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], list[tuple[str, ...]], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise RunError(f"{path} has format {about.get('format')!r}, not {FORMAT!r}; replay reads the latter.")
            names = [*TENSORS, *(name for name in OF_FAILURES if name in file.keys())]  # noqa: SIM118 - no dictionary
            tensors = {name: file.get_tensor(name) for name in names}
            pieces = [tuple(one) for one in json.loads(about["pieces"])]
            int(about["step"])
        if len(pieces) != len(tensors["advantages"]):
            raise ValueError(f"pieces of {len(pieces)} completions, advantages of {len(tensors['advantages'])}")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove it to replay the others.") from None
    return tensors, pieces, about


def _at_level(own: Array, level: str) -> Array:
    """The log-ratio each token of one completion is gated at: its own, the completion's mean, or the whole sum."""
    if level == "token" or not len(own):
        return own
    return np.full(len(own), own.mean() if level == "sequence" else own.sum())


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One gate on those tokens."""

    name: str
    verdict: str
    weight: Array  # w [N]
    score_weight: Array  # phi [N]
    numbers: dict[str, float]


DEFINED = {
    "effective_update_ratio": "mean of w over the tokens of a prompt, then over prompts",
    "effective_update_ratio_positive": "mean of w over tokens with A > 0",
    "effective_update_ratio_negative": "mean of w over tokens with A < 0",
    "beyond_half_width": "share of tokens with w < 1/2",
    "effective_sample_size": "(sum |phi A|)^2 / (N sum (phi A)^2): share of the tokens with A other than 0 that pull",
    "top_share": "share of sum |phi A| that the top 1 % of the tokens have",
    "score_weight_q05": "5 % quantile of phi",
    "score_weight_q50": "median of phi",
    "score_weight_q95": "95 % quantile of phi",
    "weight_gap": "mean over completions of |mean_t w - w at the mean log-ratio|",
    "weight_gap_bound": "mean over completions of sup|g''|/2 Var_t(log r), g(z) = w(e^z); infinite where w has a kink",
}
"""What each number of a replay means."""


def replay(tokens: Tokens, gates: Sequence[Gate]) -> list[Replayed]:
    """What each gate, at its trained values, would have done; refuted gates too, for nothing is trained."""
    return [_replayed(tokens, gate) for gate in gates]


def _replayed(tokens: Tokens, gate: Gate) -> Replayed:
    certificate = certify(gate)
    function = surrogate(certificate, allow_uncertified=True)
    z, a = torch.from_numpy(tokens.log_ratio).float(), torch.from_numpy(tokens.advantage).float()
    w, phi = (x.detach().double().numpy() for x in (function.weight(z, a), function.score_weight(z, a)))
    by_prompt = [w[tokens.prompt == p].mean() for p in np.unique(tokens.prompt)]
    pull = np.sort(np.abs(phi * tokens.advantage)[tokens.advantage != 0])[::-1]
    low, middle, high = np.quantile(phi, [0.05, 0.5, 0.95])
    numbers = {
        "effective_update_ratio": float(np.mean(by_prompt)),
        **{
            f"effective_update_ratio_{sign}": float(w[part].mean())
            for sign, part in (("positive", tokens.advantage > 0), ("negative", tokens.advantage < 0))
            if part.any()
        },
        "beyond_half_width": float((w < 0.5).mean()),
        "score_weight_q05": float(low),
        "score_weight_q50": float(middle),
        "score_weight_q95": float(high),
    }
    if len(pull) and pull[0] > 0:
        numbers["effective_sample_size"] = float(pull.sum() ** 2 / (len(pull) * (pull**2).sum()))
        numbers["top_share"] = float(pull[: math.ceil(TOP_SHARE * len(pull))].sum() / pull.sum())
    if tokens.ratio_level == "token":
        numbers |= _averaging(tokens, gate, w, function)
    return Replayed(name=label(gate), verdict=certificate.verdict, weight=w, score_weight=phi, numbers=numbers)


def _averaging(tokens: Tokens, gate: Gate, w: Array, function: Any) -> dict[str, float]:
    """Both sides of |mean_t g(z_t) - g(mean z)| <= sup|g''|/2 Var_t(z), 2511.20347 section 4.1, over completions."""
    first = np.unique(tokens.completion, return_index=True)[1]
    ends = np.append(first, len(w))
    parts = [slice(a, b) for a, b in pairwise(ends)]
    mean_z = np.array([tokens.token_log_ratio[part].mean() for part in parts])
    variance = np.array([tokens.token_log_ratio[part].var() for part in parts])
    mean_w = np.array([w[part].mean() for part in parts])
    advantage = tokens.advantage[first]
    there = function.weight(torch.from_numpy(mean_z).float(), torch.from_numpy(advantage).float()).double().numpy()
    bound = log_curvature(gate)
    half = np.where(advantage > 0, bound["positive"], bound["negative"]) / 2
    product = np.where(variance == 0, 0.0, half * np.where(variance == 0, 1.0, variance))  # 0 times an infinite bound
    return {
        "weight_gap": float(np.abs(mean_w - there).mean()),
        "weight_gap_bound": float(product.mean()),
    }


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A token to which two gates give the most different pull."""

    step: int
    row: int  # the completion in samples/step-N.jsonl, from 0
    place: int
    token: str
    before: str
    ratio: float
    advantage: float
    score_weights: tuple[float, float]


def disagreements(tokens: Tokens, one: Replayed, other: Replayed, count: int = 10) -> list[Disagreement]:
    """The tokens with the largest |phi_1 - phi_2| |A|, in that order."""
    apart = np.abs((one.score_weight - other.score_weight) * tokens.advantage)
    found = []
    for index in np.argsort(-apart, kind="stable")[:count]:
        if apart[index] == 0:
            break
        token, before = tokens.context(int(index))
        found.append(
            Disagreement(
                step=int(tokens.step[index]),
                row=int(tokens.row[index]),
                place=int(tokens.place[index]),
                token=token,
                before=before,
                ratio=math.exp(min(tokens.log_ratio[index], 700.0)),
                advantage=float(tokens.advantage[index]),
                score_weights=(float(one.score_weight[index]), float(other.score_weight[index])),
            )
        )
    return found


def replay_figure(tokens: Tokens, done: Sequence[Replayed]) -> list[Axes]:
    """Left: the run's log-ratios; right: how the score weights phi of its tokens are distributed under each gate."""
    with house_style():
        grid: Any
        figure, grid = plt.subplots(1, 2, figsize=(PAGE, 2.4))
        ratios, weights = grid
        low, high = (float(end) for end in np.quantile(tokens.log_ratio, [0.0005, 0.9995]))
        low, high = min(low, -1e-6), max(high, 1e-6)
        density, edges = np.histogram(np.clip(tokens.log_ratio, low, high), bins=81, range=(low, high))
        ratios.set_label("tokens over log-ratio")
        ratios.stairs(density, edges, color=PALE, fill=True, alpha=0.5)
        middles = (edges[1:] + edges[:-1]) / 2
        ratios.plot(middles, density, color=PALE, lw=0.8, label="tokens", drawstyle="steps-mid")
        ratios.set_xlabel(r"log-ratio  $\log r$, in nats")
        ratios.set_ylabel("tokens")
        weights.set_label("tokens over score weight")
        top = max(1.0, *(float(np.quantile(one.score_weight, 0.999)) for one in done))
        for index, one in enumerate(done):
            counts, edges = np.histogram(np.clip(one.score_weight, 0, top), bins=60, range=(0, top))
            middles = (edges[1:] + edges[:-1]) / 2
            weights.plot(middles, counts, color=colour(index), ls=dashes(index), label=one.name, drawstyle="steps-mid")
        weights.set_xlabel(r"score weight  $\varphi = r\,w$")
        for axes in grid:
            axes.set_yscale("symlog", linthresh=1)
        figure.legend(*weights.get_legend_handles_labels(), loc="outside upper center", ncols=min(3, len(done)))
    return list(grid)


def histogram(tokens: Tokens, bins: int = 200) -> dict[str, list[float]]:
    """The log-ratios as edges and counts, which `sapo-gates calibrate --histogram` reads."""
    counts, edges = np.histogram(tokens.log_ratio, bins=bins)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def say_failures(tokens: Tokens, count: int = 10) -> Iterator[str]:
    """Why a minibatch was kept, and the tokens whose log-ratio is not finite."""
    for failure in tokens.failures:
        where = "no single sample" if failure["row"] is None else f"completion {failure['row']} ({failure['id']})"
        yield (
            f"failed at step {failure['step']}, epoch {failure['epoch']}: loss {failure['loss']}, gradient norm "
            f"{failure['grad_norm']}; first in {where}"
        )
    if tokens.broken:
        rows = len({(one.step, one.row) for one in tokens.broken})
        yield f"{len(tokens.broken)} tokens in {rows} completions have no finite log-ratio; the numbers leave them out:"
    for one in tokens.broken[:count]:
        parts = (("log-ratio", one.log_ratio), ("log-prob", one.log_prob), ("old", one.old_log_prob))
        said = ", ".join(f"{name} {number:.4g}" for name, number in parts if number is not None)
        yield f"  step {one.step}, completion {one.row}, token {one.place}: {one.before!r} → {one.token!r}  {said}"
    if len(tokens.broken) > count:
        yield f"  and {len(tokens.broken) - count} more"


def say(tokens: Tokens, done: Sequence[Replayed], apart: Sequence[Disagreement]) -> Iterator[str]:
    """The numbers as a table, and where the first two gates disagree most."""
    prompts, completions = len(np.unique(tokens.prompt)), len(np.unique(tokens.completion))
    steps = len(np.unique(tokens.step))
    yield (
        f"{len(tokens.log_ratio)} tokens in {completions} completions to {prompts} prompts, from {steps} batch steps, "
        f"ratio level {tokens.ratio_level}; log-ratios with std {tokens.log_ratio.std():.4g}"
    )
    yield " " * 32 + "  ".join(f"{one.name:>18}" for one in done)
    for key in DEFINED:
        if any(key in one.numbers for one in done):
            cells = (f"{one.numbers[key]:>18.4g}" if key in one.numbers else f"{'':>18}" for one in done)
            yield f"{key.replace('_', ' '):<32}" + "  ".join(cells)
    if not tokens.log_ratio.any():
        yield "every ratio is 1: all gates with w(1) = 1 do the same here, and nothing is compared"
    elif len(done) > 1:
        yield "these are the tokens that the run's own gate led to; another gate would have led to others"
    if len(done) > 1:
        yield ""
        yield f"where {done[0].name} and {done[1].name} pull most differently (phi of each, times A):"
        for d in apart:
            first, second = d.score_weights
            yield (
                f"  step {d.step}, completion {d.row}: {d.before!r} → {d.token!r}  r = {d.ratio:.4g}, "
                f"A = {d.advantage:+.2f}, phi {first:.3f} / {second:.3f}"
            )
