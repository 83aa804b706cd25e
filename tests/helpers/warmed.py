"""Loaded by the fork server alone: what a run of `smoke.yaml` loads and proves before its first step."""

import tempfile
from pathlib import Path

import torch

import sapo_train.train as _loop  # noqa: F401
from sapo_train.certified import take_gate
from sapo_train.config import build, load_recipe
from sapo_train.run import RunConfig
from sapo_train.world import World

torch.set_num_threads(1)  # the threads of a pool would not survive the fork
with tempfile.TemporaryDirectory() as folder:
    take_gate(build(RunConfig, load_recipe("smoke.yaml")).objective, False, Path(folder) / "certificate.json", World())
