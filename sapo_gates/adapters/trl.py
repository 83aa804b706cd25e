"""A certified gate inside TRL's GRPOTrainer.

    trainer = GatedGRPOTrainer(gate="arctan", positive={"tau": 10}, negative={"tau": 12}, model=..., args=..., ...)

TRL chooses the loss of a token by one chain of `if self.loss_type == ...` in the middle of `_compute_loss`, and has no
hook there. That one statement is replaced, in TRL's source as it is installed; log-probs, ratio level, KL, entropy,
masks, reduction and metrics around it stay TRL's own code.
"""

# trl exports lazily
# pyright: reportPrivateImportUsage=false

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trl
from trl import GRPOConfig, GRPOTrainer

from sapo_gates.adapters.certified import certified_gate
from sapo_gates.errors import AdapterError
from sapo_gates.torch.runtime import TorchGate

if TYPE_CHECKING:
    from sapo_gates.certificate import Certificate
    from sapo_gates.gate import Gate, Number

REDUCTIONS = ("sapo", "grpo", "dapo", "bnpo", "dr_grpo")
"""Values of `loss_type` that say how token losses are reduced; the others bring a weight of their own."""
TRL_GATES = (
    "epsilon", "epsilon_high", "delta", "sapo_temperature_pos", "sapo_temperature_neg",
    "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg",
)  # fmt: skip
"""Options of the gates that TRL brings along, which a gate put in their place does not read."""
_TOKEN_LOSS = "per_token_loss = -self.gate(*torch.broadcast_tensors(log_importance_weights, advantages, mask))"


def gated(compute_loss: Callable[..., Any]) -> Callable[..., Any]:
    """`GRPOTrainer._compute_loss` with -f(r) A of `self.gate` for whatever token loss it would choose.

    Raises:
        AdapterError: the installed TRL has no such choice where it is looked for.
    """
    lines, first = inspect.getsourcelines(compute_loss)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    choices = [
        statement
        for statement in function.body
        if isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Compare)
        and ast.unparse(statement.test.left) == "self.loss_type"
        and "per_token_loss" in _assigned(statement)
    ]
    known = {name for statement in function.body for name in _assigned(statement)}
    if len(choices) != 1 or not {"log_importance_weights", "advantages", "mask"} <= known:
        raise AdapterError(
            f"trl {trl.__version__}: GRPOTrainer._compute_loss does not choose per_token_loss by self.loss_type, from "
            f"log_importance_weights, advantages and mask, as it does in trl 1.16; install trl==1.16."
        )
    (replaced,) = ast.parse(_TOKEN_LOSS).body
    function.body[function.body.index(choices[0])] = ast.copy_location(replaced, choices[0])
    ast.increment_lineno(ast.fix_missing_locations(tree), first - 1)
    namespace: dict[str, Any] = {}
    code = compile(tree, inspect.getsourcefile(compute_loss) or "trl", "exec")  # tracebacks show TRL's lines
    exec(code, compute_loss.__globals__, namespace)
    return namespace[function.name]


def _assigned(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def check_options(args: Any) -> None:
    """Refuses what would have no effect, or another one than it says.

    Raises:
        AdapterError: a `loss_type` that is no reduction, or an option of TRL's own gates that is not left alone.
    """
    if args.loss_type not in REDUCTIONS:
        raise AdapterError(
            f"loss_type={args.loss_type!r} brings a weight of its own; with a gate it only names the reduction: "
            f"{', '.join(REDUCTIONS)}. The papers' mean over tokens, then over completions, is 'sapo'."
        )
    for field in fields(GRPOConfig):
        if field.name in TRL_GATES and getattr(args, field.name) != field.default:
            raise AdapterError(
                f"{field.name}={getattr(args, field.name)} would change nothing: it belongs to a gate of TRL's, which "
                f"is replaced; leave it out: this gate has parameters of its own."
            )


class GateTrainer(GRPOTrainer):
    """TRL's GRPOTrainer with the loss of a token from `gate`."""

    gate: TorchGate
    _compute_loss = gated(GRPOTrainer._compute_loss)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As TRL's; the options of its own gates are refused."""
        super().__init__(*arguments, **options)
        check_options(self.args)


class GatedGRPOTrainer(GateTrainer):
    """TRL's GRPOTrainer with a certified gate: loss of a token -f(r) A, gradient -phi(r) A, finite for every log-ratio.

    Args:
        gate: a TorchGate, a certificate or its file, a Gate, a family's name, a gate file, or `pkg.module:NAME`.
        positive, negative: the gate's parameters where A > 0 and elsewhere, such as {"tau": 10}.
        arguments, options: TRL's own. `args.loss_type` names the reduction alone, one of REDUCTIONS: `sapo`, as `grpo`,
            is the papers' mean over tokens, then over completions.

    Raises:
        NotCertified: a requirement is refuted or undecided.
        AdapterError: an option that would have no effect, or a TRL that this adapter does not fit.
    """

    def __init__(
        self,
        *arguments: Any,
        gate: "TorchGate | Certificate | Gate | str | Path",
        positive: "Mapping[str, Number] | None" = None,
        negative: "Mapping[str, Number] | None" = None,
        **options: Any,
    ) -> None:
        """Certifies the gate first: nothing is loaded for one that is refused."""
        self.gate = certified_gate(gate, positive=positive, negative=negative)
        super().__init__(*arguments, **options)
