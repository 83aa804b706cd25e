"""Forward and backward of the exported gates against TRL's expression: python tests/benchmarks/surrogate.py

TRL's expression is 4/tau sigmoid(tau (exp(z) - 1)) times the advantage, in float32, with autograd's own gradient. All
run alternately in one process; medians of the repetitions in milliseconds. A copy of the same bytes is the floor.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sapo_gates import certify
from sapo_gates.torch import surrogate


def trl(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """The expression of TRL's GRPOTrainer with loss_type="sapo", tau = 10 and 12."""
    ratio = torch.exp(log_ratio)
    positive = 4 / 10.0 * torch.sigmoid(10.0 * (ratio - 1))
    negative = 4 / 12.0 * torch.sigmoid(12.0 * (ratio - 1))
    return torch.where(advantage > 0, positive, negative) * advantage


def seconds(function: Callable[[Tensor, Tensor], Tensor], log_ratio: Tensor, advantage: Tensor) -> float:
    """One forward and backward."""
    z = log_ratio.detach().requires_grad_()
    start = time.perf_counter()
    function(z, advantage).sum().backward()
    return time.perf_counter() - start


def copy(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """The bytes of one pass."""
    return log_ratio.clone()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[2**20, 2**22, 2**24])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="under torch.compile, which needs a C++ compiler")
    options = parser.parse_args()
    contenders: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"TRL": trl, "copy": copy}
    contenders |= {name: surrogate(certify(name)) for name in ("sigmoid", "erf", "arctan", "softsign")}
    if options.compile:
        contenders = {name: torch.compile(function) for name, function in contenders.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'compiled' if options.compile else 'eager'}")
    for tokens in options.tokens:
        generator = torch.Generator().manual_seed(0)
        log_ratio = 0.1 * torch.randn(tokens // 1024, 1024, generator=generator)
        advantage = torch.randn(tokens // 1024, 1, generator=generator)
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for repetition in range(options.repetitions + 1):
            for name, function in contenders.items():
                elapsed = seconds(function, log_ratio, advantage)
                if repetition > 0:  # the first warms up
                    taken[name].append(elapsed)
        medians = {name: 1e3 * statistics.median(times) for name, times in taken.items()}
        for name, median in medians.items():
            print(f"{tokens:>9} tokens  {name:<10} {median:9.2f} ms  {median / medians['TRL']:5.2f} x TRL")


if __name__ == "__main__":
    main()
