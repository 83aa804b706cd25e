"""Problems, their split, their order, and the chat template."""

import json

import pytest

from sapo_train.data import DataConfig, arithmetic, encode, load_problems, read_jsonl
from sapo_train.errors import DataError
from sapo_train.models import byte_tokenizer


def pairs(problems):
    return {frozenset(p.id.split("+")) for p in problems}


def test_held_out_sums_are_trained_on_in_neither_order():
    train, held_out = arithmetic(DataConfig())
    assert len(train) + len(held_out) == 625
    assert len(held_out) >= 200
    assert pairs(train) & pairs(held_out) == set()
    assert all(eval(p.id) == int(p.answer) for p in train + held_out)
    assert train[0].question == f"What is {train[0].id}? Answer with a number."


def test_the_order_is_a_pure_function_of_seed_and_position():
    problems = load_problems(DataConfig(largest=4, held_out=4), byte_tokenizer())
    whole = [p.problem.id for p in problems.draw(3, 0, 40)]
    assert [p.problem.id for p in problems.draw(3, 7, 5)] == whole[7:12]
    size = len(problems.train)
    assert sorted(whole[:size]) == sorted(p.problem.id for p in problems.train)  # a lap visits each once
    assert whole[:size] != whole[size : 2 * size]
    assert whole != [p.problem.id for p in problems.draw(4, 0, 40)]


def test_the_chat_template_is_applied_once_and_brings_the_only_special_tokens():
    tokenizer = byte_tokenizer()
    prompt = encode(arithmetic(DataConfig())[0][0], tokenizer, system="Be brief.")
    text = tokenizer.decode(prompt.tokens)
    question = prompt.problem.question
    assert text == f"<|start|>system\nBe brief.<|end|><|start|>user\n{question}<|end|><|start|>assistant\n"


def test_a_tokenizer_without_a_chat_template_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        load_problems(DataConfig(), tokenizer)


def test_long_prompts_are_dropped_and_counted(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"question": "x" * n, "answer": 1}) + "\n" for n in (3, 300)))
    problems = load_problems(DataConfig(source="jsonl", train=str(path), max_prompt=100), byte_tokenizer())
    assert (len(problems.train), problems.dropped) == (1, 1)
    with pytest.raises(DataError, match="max_prompt=1"):
        load_problems(DataConfig(source="jsonl", train=str(path), max_prompt=1), byte_tokenizer())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no problem"),
        ("{", ":1 is not JSON"),
        ("[1]", ":1 must be an object"),
        ('{"question": "a", "answer": 1}\n{"question": "a"}', ":2 has answer=None"),
        ('{"question": " ", "answer": 1}', "has question=' '"),
        ('{"question": "a", "answer": true}', "has answer=True"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path, text, says):
    path = tmp_path / "problems.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_jsonl(str(path), "question", "answer")
    assert says in str(error.value)


def test_a_missing_file_is_refused():
    with pytest.raises(DataError, match="cannot read problems from nowhere"):
        read_jsonl("nowhere", "q", "a")


def test_columns_are_mapped(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "one", "ask": "1+1?", "gold": 2}))
    (problem,) = read_jsonl(str(path), "ask", "gold")
    assert (problem.id, problem.question, problem.answer) == ("one", "1+1?", "2")
