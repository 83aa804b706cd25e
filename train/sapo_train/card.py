"""The model card: what was trained, with which gate, and what is proved about it."""

from __future__ import annotations

import yaml

from sapo_train.certified import CertifiedGate
from sapo_train.checkpoint import Place
from sapo_train.config import plain
from sapo_train.run import RunConfig

ROLES = {
    "certified": "Every requirement of its profile is proved.",
    "baseline": "It does not meet every requirement, and trains as a baseline for comparison.",
    "uncertified": "It was trained without a certificate, by `allow_uncertified`.",
}


def model_card(run: RunConfig, certified: CertifiedGate, place: Place) -> str:
    """Return the card as Markdown with the front matter that model hubs read."""
    certificate, objective = certified.certificate, run.objective
    front = {"library_name": "transformers", "tags": ["grpo", "sapo-gates"], "base_model": run.policy.model}
    parameters = {"A > 0": objective.positive, "A <= 0": objective.negative}
    proofs = "\n".join(
        f"| `{row['id']}` | {row['sign']} | {row['verdict']} | {row['scope']} |" for row in certificate["requirements"]
    )
    return f"""---
{yaml.safe_dump(front, sort_keys=False).rstrip()}
---

# {run.name}

`{run.policy.model}` after {place.step} batch steps ({place.updates} updates) of GRPO with the gate
`{certificate["gate"]["name"]}` on the {objective.ratio_level} ratio, reduced by `{objective.reduction}`.

## The gate

- role: **{certified.role}**. {ROLES[certified.role]}
- verdict: **{certified.verdict}**, profile `{certificate["profile"]}`
- certificate: `{certificate["digest"]}`, beside this file as `certificate.json`; `sapo-gates recheck certificate.json`
- parameters: {", ".join(f"{sign}: {values or 'as declared'}" for sign, values in parameters.items())}

| requirement | sign of A | verdict | scope |
|---|---|---|---|
{proofs}

## The run

```yaml
{yaml.safe_dump(plain(run), sort_keys=False, allow_unicode=True).rstrip()}
```
"""
