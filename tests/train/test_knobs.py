"""Every knob of a run is alive: moved, it changes what a run writes or says, or is refused; and none is forgotten."""

import re
from pathlib import Path

import pytest
from runs import run

from sapo_train.config import describe
from sapo_train.run import RunConfig

HERE = Path(__file__).parent
LORA = ("--policy.lora.rank=4",)
KL = ("--objective.kl_weight=0.5",)
STOP = '--sampling.stop=["0", "1", "2", "a", "b", "e", "i"]'
MANY = ("--evaluation.temperature=1", "--evaluation.samples=2", "--evaluation.limit=0")
CHECKPOINTS = ("--checkpoint.every=1",)

# knob: (flag, what differs, flags that both runs have)
KNOBS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "name": ("--name=other", "summary.json", ()),
    "steps": ("--steps=3", "metrics.jsonl", ()),
    "seed": ("--seed=1", "metrics.jsonl", ()),
    "policy.shared_prompt": ("--policy.shared_prompt=false", "said", ()),
    "policy.dtype": ("--policy.dtype=bfloat16", "metrics.jsonl", ()),
    "policy.lora.rank": ("--policy.lora.rank=2", "metrics.jsonl", ()),
    "policy.lora.alpha": ("--policy.lora.alpha=1", "metrics.jsonl", LORA),
    "policy.lora.dropout": ("--policy.lora.dropout=0.5", "metrics.jsonl", LORA),
    "policy.lora.targets": ("--policy.lora.targets=[q_proj]", "metrics.jsonl", LORA),
    "data.system": ("--data.system='Be brief.'", "metrics.jsonl", ()),
    "data.max_prompt": ("--data.max_prompt=1", "refused", ()),
    "sampling.prompts": ("--sampling.prompts=3", "metrics.jsonl", ()),
    "sampling.group_size": ("--sampling.group_size=3", "metrics.jsonl", ()),
    "sampling.max_tokens": ("--sampling.max_tokens=5", "metrics.jsonl", ()),
    "sampling.temperature": ("--sampling.temperature=2", "metrics.jsonl", ()),
    "sampling.top_p": ("--sampling.top_p=0.2", "metrics.jsonl", ()),
    "sampling.top_k": ("--sampling.top_k=3", "metrics.jsonl", ()),
    "sampling.stop": (STOP, "metrics.jsonl", ()),
    "reward.weights": ("--reward.weights={equivalence: 1, think-answer-format: 1}", "metrics.jsonl", ()),
    "reward.scale": ("--reward.scale=true", "metrics.jsonl", ()),
    "advantage.kind": ("--advantage.kind=dr-grpo", "metrics.jsonl", ()),
    "advantage.eps": ("--advantage.eps=1", "metrics.jsonl", ()),
    "advantage.ddof": ("--advantage.ddof=0", "metrics.jsonl", ()),
    "advantage.mask_truncated": ("--advantage.mask_truncated=true", "metrics.jsonl", ()),
    "advantage.overlong_buffer": ("--advantage.overlong_buffer=8", "metrics.jsonl", (STOP,)),
    "advantage.max_draws": ("--advantage.max_draws=3", "metrics.jsonl", ("--sampling.max_tokens=1",)),
    "objective.gate": ("--objective.gate=sigmoid", "metrics.jsonl", ()),
    "objective.positive": ("--objective.positive.tau=3", "metrics.jsonl", ()),
    "objective.negative": ("--objective.negative.tau=3", "metrics.jsonl", ()),
    "objective.ratio_level": ("--objective.ratio_level=sequence", "metrics.jsonl", ()),
    "objective.reduction": ("--objective.reduction=seq-mean-token-sum-norm", "metrics.jsonl", (STOP,)),
    "objective.correction": ("--objective.correction=token", "metrics.jsonl", ()),
    "objective.kl_weight": ("--objective.kl_weight=0.5", "metrics.jsonl", ()),
    "objective.kl_ratio_correction": ("--objective.kl_ratio_correction=true", "metrics.jsonl", KL),
    "objective.entropy_share": ("--objective.entropy_share=0.2", "metrics.jsonl", ()),
    "update.epochs": ("--update.epochs=3", "metrics.jsonl", ()),
    "update.minibatches": ("--update.minibatches=2", "metrics.jsonl", ()),
    "update.max_grad_norm": ("--update.max_grad_norm=1e-4", "metrics.jsonl", ("--optim.eps=0.1",)),
    "optim.lr": ("--optim.lr=0.01", "metrics.jsonl", ()),
    "optim.betas": ("--optim.betas=[0.1, 0.2]", "metrics.jsonl", ()),
    "optim.eps": ("--optim.eps=0.1", "metrics.jsonl", ()),
    "optim.weight_decay": ("--optim.weight_decay=1", "metrics.jsonl", ()),
    "optim.schedule": ("--optim.schedule=cosine", "metrics.jsonl", ()),
    "optim.warmup": ("--optim.warmup=2", "metrics.jsonl", ()),
    "evaluation.every": ("--evaluation.every=1", "evaluations.jsonl", ()),
    "evaluation.samples": ("--evaluation.samples=3", "evaluations", MANY),
    "evaluation.temperature": ("--evaluation.temperature=2", "evaluations", MANY),
    "evaluation.top_p": ("--evaluation.top_p=0.1", "evaluations", MANY),
    "evaluation.max_tokens": ("--evaluation.max_tokens=3", "evaluations", MANY),
    "evaluation.limit": ("--evaluation.limit=1", "evaluations.jsonl", MANY),
    "checkpoint.every": ("--checkpoint.every=1", "checkpoints", ("--checkpoint.keep=9",)),
    "checkpoint.keep": ("--checkpoint.keep=9", "checkpoints", CHECKPOINTS),
    "ratios.every": ("--ratios.every=1", "ratios", ()),
    "ratios.completions": ("--ratios.completions=1", "ratios", ("--ratios.every=1",)),
}  # fmt: skip
# knob: the test that moves it, where two runs' files would not show it
ELSEWHERE = {
    "allow_uncertified": "test_certified.py::test_with_permission_it_trains_and_every_file_says_so",
    "report": "test_run.py::test_a_report_with_pictures_is_made_at_the_end",
    "launch.threads": "test_knobs.py::test_a_run_computes_with_the_threads_it_asks_for",
    "policy.model": "test_run.py::test_bad_input_is_one_line_and_exit_code_2",
    "policy.chunk": "test_learner.py::test_no_tensor_of_all_tokens_by_vocabulary_exists",
    "policy.gradient_checkpointing": "test_lora.py::test_gradient_checkpointing_changes_memory_and_not_the_gradient",
    "policy.lora.start": "test_lora.py::test_another_run_goes_on_from_a_saved_adapter",
    "data.train": "test_sources.py::test_files_and_dataset_folders_give_the_same_problems",
    "data.evaluate": "test_data.py::test_what_is_evaluated_is_what_training_sources_hold_out_and_the_sources_for_it",
    "sampling.stop_tokens": "test_rollout.py::test_a_stop_token_ends_a_completion",
    "engine.kind": "test_vllm.py::test_a_server_that_dies_in_a_batch_ends_the_run_in_one_line",
    "engine.python": "test_vllm.py::test_an_interpreter_that_is_not_there_is_one_line",
    "engine.arguments": "test_vllm.py::test_settings_for_vllm_without_it_and_truncation_it_cannot_report_are_refused",
    "reward.limit": "test_rewards.py::test_a_reward_that_never_returns_is_cut_off_and_names_function_and_sample",
    "reward.answer": "test_rewards.py::test_the_answer_is_found_by_the_first_rule_that_finds_one",
    "update.microbatch": "test_run.py::test_microbatches_do_not_change_the_run_beyond_rounding",
    "evaluation.batch": "test_evaluate.py::test_the_batch_size_does_not_change_the_answers",
    "tracking.to": "test_tracking.py::test_a_tracker_gets_every_update_and_evaluation_once",
    "tracking.project": "test_tracking.py::test_a_tracker_gets_every_update_and_evaluation_once",
    "checkpoint.grace": "test_faults.py::test_sigterm_in_a_step_longer_than_grace_ends_the_run_unsaved_with_143",
}


def test_no_knob_is_forgotten_and_the_tests_named_exist():
    names = {re.sub(r"^(data\.(train|evaluate))\..*", r"\1", name) for name, _, _ in describe(RunConfig)}
    assert names == set(KNOBS) | set(ELSEWHERE)
    assert not set(KNOBS) & set(ELSEWHERE)
    for place in ELSEWHERE.values():
        file, _, test = place.partition("::")
        assert f"def {test}" in (HERE / file).read_text(encoding="utf-8")


def test_a_run_computes_with_the_threads_it_asks_for(tmp_path):
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            assert run(tmp_path / str(threads), f"--launch.threads={threads}", "--steps=1") == 0
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """What runs write before any knob is moved, by the flags they have."""
    made: dict[tuple[str, ...], Path] = {}

    def folder(flags: tuple[str, ...]) -> Path:
        if flags not in made:
            made[flags] = tmp_path_factory.mktemp("still") / "run"
            assert run(made[flags], *SMALL, *flags) == 0
        return made[flags]

    return folder


SMALL = ("--steps=2", "--checkpoint.every=0", "--ratios.every=0", "--evaluation.max_tokens=8")


def trace(folder: Path, what: str) -> object:
    """What a run wrote under a name: the bytes of a file, or of all files below a folder."""
    path = folder / what
    if path.is_file():
        return path.read_bytes()
    read = {"checkpoints": lambda file: b""}.get(what, lambda file: file.read_bytes())
    return {str(file.relative_to(path)): read(file) for file in path.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_that_is_moved_is_seen(knob, still, tmp_path, capsys):
    flag, what, flags = KNOBS[knob]
    before = still(flags)
    capsys.readouterr()
    code = run(tmp_path / "moved", *SMALL, *flags, flag)
    out, error = capsys.readouterr()
    if what == "refused":
        assert code == 2
        assert error.count("\n") == 1
    elif what == "said":
        assert "prompts are shared" not in out
    else:
        assert code == 0, error
        assert trace(before, what) != trace(tmp_path / "moved", what)
