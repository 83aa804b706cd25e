"""Forward and backward of the exported gates beside other people's: python tests/benchmarks/surrogate.py [--write]

TRL's and verl's expressions are those of their `sapo` losses at tau = 10 and 12, with autograd's own gradient. A copy
of the same bytes is the floor; the exported formulas computed in float32 say what float64 costs. Contenders take turns
in one process; medians. Accuracy is in ulp of float32 against 100-bit arithmetic, at log-ratios of every size up to the
one in the column's head. The page is written whole.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from sapo_gates import certify
from sapo_gates.torch import TorchGate, surrogate
from sapo_gates.torch.numerics import ulps
from sapo_gates.torch.runtime import Part, plain

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "surrogate.md"
GATES = ("sigmoid", "erf", "arctan", "softsign")
Contender = Callable[[Tensor, Tensor], Tensor]


def trl(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """GRPOTrainer with loss_type="sapo", up to the sign."""
    temperature = torch.where(advantage > 0, 10.0, 12.0)
    return torch.sigmoid(temperature * (torch.exp(log_ratio) - 1)) * 4 / temperature * advantage


def verl(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """compute_policy_loss_sapo, up to the sign."""
    temperature = torch.where(advantage > 0, 10.0, 12.0)
    ratio = torch.exp(torch.clamp(log_ratio, min=-20.0, max=20.0))
    return torch.sigmoid(temperature * (ratio - 1.0)) * (4.0 / temperature) * advantage


def copy(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """The bytes of one pass."""
    return log_ratio.clone()


class InFloat32(TorchGate):
    """The exported formulas without float64 inside: what speed they would have, and what accuracy."""

    def evaluate(self, part: Part, log_ratio: Tensor, sign: Tensor) -> tuple[Tensor, ...]:
        """In float32, of the form that both signs share."""
        return plain(self.plain_forms["positive", part], log_ratio.float(), sign)


def in_float32(gate: TorchGate) -> InFloat32:
    """The gate, computed in float32."""
    return InFloat32(**{field.name: getattr(gate, field.name) for field in fields(gate)})


def seconds(function: Contender, log_ratio: Tensor, advantage: Tensor) -> float:
    """One forward and backward."""
    z = log_ratio.detach().requires_grad_()
    start = time.perf_counter()
    function(z, advantage).sum().backward()
    return time.perf_counter() - start


def medians(contenders: dict[str, Contender], tokens: int, repetitions: int, dtype: torch.dtype) -> dict[str, float]:
    """Milliseconds for rows of 1024 tokens with an advantage each."""
    generator = torch.Generator().manual_seed(0)
    log_ratio = (0.1 * torch.randn(tokens // 1024, 1024, generator=generator)).to(dtype)
    advantage = torch.randn(tokens // 1024, 1, generator=generator)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 1):
        for name, function in contenders.items():
            elapsed = seconds(function, log_ratio, advantage)
            if repetition > 0:  # the first warms up, and compiles
                taken[name].append(1e3 * elapsed)
    return {name: statistics.median(times) for name, times in taken.items()}


def float32_errors(gate: TorchGate, largest: float) -> tuple[float, float]:
    """The worst ulp of value and score weight at A > 0, as compiled and with the same formula in float32."""
    sizes = torch.cat([torch.logspace(-8, 0, 2_000), torch.linspace(0, 1, 2_000)]) * largest
    z, positive = torch.cat([sizes, -sizes]), torch.tensor(True)
    true, form = gate.evaluate("token", z.double(), positive), gate.plain_forms["positive", "token"]
    ours = plain(form, z.double(), positive, form.quick is not None)
    native = in_float32(gate).evaluate("token", z, positive)
    worst = lambda mine: max(  # noqa: E731
        ulps(one.float(), exact, torch.zeros_like(exact)).max().item() for one, exact in zip(mine, true, strict=True)
    )
    return worst(ours), worst(native)


def report(tokens: int, repetitions: int) -> Iterator[str]:
    """The page, line by line."""
    gates = {name: surrogate(certify(name)) for name in GATES}
    narrow = {f"{name}, float32": in_float32(gate) for name, gate in gates.items()}
    eager: dict[str, Contender] = {"copy": copy, "TRL": trl, "verl": verl, **gates}
    torch._dynamo.config.recompile_limit = 64  # all gates share one __call__
    compiled = {name: torch.compile(function) for name, function in (eager | narrow).items()}
    yield "# Exported gates: how fast and how exact"
    yield ""
    yield f"Medians of {repetitions} by `python tests/benchmarks/surrogate.py --write`: forward and backward over"
    yield f"{tokens:,} tokens, in turns, on a 2-core {platform.machine()} cloud machine without GPU, load average"
    yield f"{os.getloadavg()[0]:.1f} at the start; torch {torch.__version__}, {torch.get_num_threads()} threads. TRL"
    yield "and verl stand for the expressions of their `sapo` losses, copy for a copy of the same bytes."
    times = {
        dtype: [medians(table, tokens, repetitions, dtype) for table in (eager, compiled)]
        for dtype in (torch.float32, torch.bfloat16)
    }
    for dtype, found in times.items():
        yield f"\n## {str(dtype).removeprefix('torch.')}\n"
        if dtype == torch.bfloat16:
            yield "Computed in float32, which was found right for these gates at every number of 16 bits.\n"
        yield "| | eager ms | x TRL | compiled ms | x TRL |"
        yield "|---|---|---|---|---|"
        for name in eager:
            cells = (f"{one[name]:.1f} | {one[name] / one['TRL']:.2f}" for one in found)
            yield f"| {name} | {' | '.join(cells)} |"
    few = tokens // 256
    slow = medians({"TRL": trl, **gates}, few, max(1, repetitions // 3), torch.float64)
    yield f"\n## float64, {few:,} tokens, eager\n"
    yield "About 100 bits inside: for checks of gradients and references, not for training.\n"
    yield "| | ms | x TRL |"
    yield "|---|---|---|"
    yield from (f"| {name} | {ms:.1f} | {ms / slow['TRL']:.0f} |" for name, ms in slow.items())
    yield "\n## What float64 inside is worth\n"
    yield "For float32 log-ratios: compiled time with float64 inside beside the same formula in float32, both as above,"
    yield "and for each the worst error of value and score weight in ulp. Inside, r - 1 and all arithmetic are float64;"
    yield "r is a polynomial exact to 2^-33, and exp, erf and arctan are polynomials to float32's precision, where that"
    yield "keeps 2 ulp; in float32 all of them are torch's. What float64 costs is vectors of half as many numbers, a"
    yield "longer polynomial for r, and conversions.\n"
    sizes = (0.01, 0.1, 1.0, 10.0, 80.0)
    yield "| gate | ms | " + " | ".join(f"\\|z\\| <= {size:g}" for size in sizes) + " |"
    yield "|---|---|" + "---|" * len(sizes)
    for name, gate in gates.items():
        errors = zip(*(float32_errors(gate, size) for size in sizes), strict=True)
        for inside, row, contender in zip(("float64", "float32"), errors, (name, f"{name}, float32"), strict=True):
            cells = " | ".join(f"{error:.3g}" for error in row)
            yield f"| {name} in {inside} | {times[torch.float32][1][contender]:.1f} | {cells} |"


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2**24)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--write", action="store_true", help=f"to {PAGE.relative_to(PAGE.parents[2])}")
    options = parser.parse_args()
    lines = []
    for line in report(options.tokens, options.repetitions):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
