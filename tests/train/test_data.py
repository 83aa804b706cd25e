"""Prompts: the chat template, the length limit, the mixture and its order."""

import json

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from sapo_train.data import DataConfig, encoded, load_problems, mixture
from sapo_train.errors import DataError
from sapo_train.models import byte_tokenizer
from sapo_train.sources import Problem, SourceConfig


def small(number: int, held_out: int) -> SourceConfig:
    return SourceConfig(source="arithmetic", options={"largest": number}, held_out=held_out)


def ids(prompts):
    return [p.problem.id for p in prompts]


def test_the_order_is_a_pure_function_of_seed_and_position():
    problems = load_problems(DataConfig(train=(small(4, held_out=4),)), byte_tokenizer())
    whole = ids(problems.draw(3, 0, 40))
    assert ids(problems.draw(3, 7, 5)) == whole[7:12]
    size = len(problems.train[0])
    assert sorted(whole[:size]) == sorted(ids(problems.train[0]))  # a lap visits each once
    assert whole[:size] != whole[size : 2 * size]
    assert whole != ids(problems.draw(4, 0, 40))


def write(path, number: int, prefix: str) -> SourceConfig:
    path.write_text(
        "".join(json.dumps({"id": f"{prefix}{k}", "question": "?", "answer": k}) + "\n" for k in range(number))
    )
    return SourceConfig(source=str(path))


def test_a_mixture_goes_on_anywhere_and_visits_all_of_each_source_before_any_comes_again(tmp_path):
    sources = (write(tmp_path / "a.jsonl", 5, "a"), write(tmp_path / "b.jsonl", 30, "b"))
    problems = load_problems(DataConfig(train=sources), byte_tokenizer())
    whole = ids(problems.draw(1, 0, 60))
    assert [i for at in range(0, 60, 7) for i in ids(problems.draw(1, at, min(7, 60 - at)))] == whole
    for prefix, size in (("a", 5), ("b", 30)):
        mine = [i for i in whole if i.startswith(prefix)]
        assert len(mine) >= 29
        laps = [mine[k : k + size] for k in range(0, len(mine) // size * size, size)]
        assert all(len(set(lap)) == size for lap in laps)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.5), (3.0, 1.0), (1.0, 2.0, 7.0), (1.0,)])
@pytest.mark.parametrize("seed", [0, 5])
def test_every_batch_of_a_mixture_holds_its_shares_give_or_take_two(weights, seed):
    chosen = mixture(weights, seed, 4000)
    for start in range(0, 4000, 16):
        counts = np.bincount(chosen[start : start + 16], minlength=len(weights))
        assert np.abs(counts - 16 * np.array(weights) / sum(weights)).max() <= 2


def test_the_chat_template_is_applied_once():
    tokenizer = byte_tokenizer()
    (prompt,) = encoded([Problem("1", "1+1?", "2")], tokenizer, "Be brief.")
    text = tokenizer.decode(prompt.tokens)
    assert text == "<|start|>system\nBe brief.<|end|><|start|>user\n1+1?<|end|><|start|>assistant\n"


def test_a_tokenizer_that_adds_a_bos_of_its_own_adds_none_to_the_template():
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|bos|>"})
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", bos)]
    )
    tokenizer.chat_template = "{{ bos_token }}" + str(tokenizer.chat_template)
    assert tokenizer("hello").input_ids[0] == bos  # it would
    (prompt,) = encoded([Problem("1", "hello", "2")], tokenizer, None)
    assert prompt.tokens.tolist().count(bos) == 1
    assert prompt.tokens[0] == bos


def test_a_tokenizer_without_a_chat_template_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        load_problems(DataConfig(), tokenizer)


def test_a_template_that_takes_no_system_prompt_is_named_with_the_cure():
    tokenizer = byte_tokenizer()
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refusal + str(tokenizer.chat_template)
    with pytest.raises(DataError, match=r"no system role\. Leave data\.system out"):
        load_problems(DataConfig(system="Be brief."), tokenizer)


def test_a_token_beyond_the_models_vocabulary_is_refused():
    with pytest.raises(DataError, match="but the model embeds 100: tokenizer and model do not belong together"):
        load_problems(DataConfig(), byte_tokenizer(), vocabulary=100)


def test_long_prompts_are_dropped_and_counted(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"question": "x" * n, "answer": 1}) + "\n" for n in (3, 300)))
    config = DataConfig(train=(SourceConfig(source=str(path)),), max_prompt=100)
    problems = load_problems(config, byte_tokenizer())
    assert (len(problems.train[0]), problems.dropped) == (1, 1)
    with pytest.raises(DataError, match="max_prompt=1 tokens \\(2 read\\)"):
        load_problems(DataConfig(train=(SourceConfig(source=str(path)),), max_prompt=1), byte_tokenizer())


def test_what_is_evaluated_is_what_training_sources_hold_out_and_the_sources_for_it(tmp_path):
    config = DataConfig(train=(small(4, held_out=3),), evaluate=(write(tmp_path / "a.jsonl", 2, "a"),))
    problems = load_problems(config, byte_tokenizer())
    assert ids(problems.held_out)[-2:] == ["a0", "a1"]
    assert len(problems.held_out) >= 5
    assert len(problems.train[0]) + len(problems.held_out) == 16 + 2
