"""Sources of problems: each kind, and every row that is no problem."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from sapo_train.config import build
from sapo_train.data import DataConfig
from sapo_train.errors import ConfigError, DataError
from sapo_train.sources import ArithmeticConfig, Problem, SourceConfig, arithmetic, read_problems

GSM8K = Path(__file__).parent / "data" / "gsm8k.jsonl"
ROWS = [{"question": f"What is {k}+{k}?", "answer": f"It is so.\n#### {2 * k}", "topic": "sums"} for k in range(6)]


def read(**fields) -> list[Problem]:
    return read_problems(SourceConfig(**fields))[0]


def pairs(problems):
    return {frozenset(p.id.split("+")) for p in problems}


def test_held_out_sums_are_trained_on_in_neither_order():
    train, held_out = read_problems(SourceConfig(source="arithmetic", held_out=200))
    assert len(train) + len(held_out) == 625
    assert 200 <= len(held_out) <= 201
    assert pairs(train) & pairs(held_out) == set()
    assert all(str(eval(p.id)) == p.answer for p in train + held_out)
    assert train[0].question == f"What is {train[0].id}? Answer with a number."


def test_equal_questions_are_held_out_together(tmp_path):
    path = tmp_path / "twice.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS * 2))
    train, held_out = read_problems(SourceConfig(source=str(path), held_out=3))
    assert (len(train), len(held_out)) == (8, 4)
    assert not {p.question for p in train} & {p.question for p in held_out}


def test_holding_out_everything_is_refused():
    with pytest.raises(DataError, match="held_out=625 of 'arithmetic' leaves none of its 625 problems"):
        read(source="arithmetic", held_out=625)


def as_jsonl(folder: Path) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(folder / "rows.jsonl")


def as_parquet(folder: Path) -> str:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet")
    return str(folder / "rows.parquet")


def as_dataset_folder(folder: Path) -> str:
    as_parquet(folder)
    (folder / "rows.parquet").rename(folder / "train-00000-of-00001.parquet")
    return str(folder)


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("kind", [as_jsonl, as_parquet, as_dataset_folder])
def test_files_and_dataset_folders_give_the_same_problems(tmp_path, kind, no_hub):
    (tmp_path / "data").mkdir()
    problems = read(source=kind(tmp_path / "data"), rules=("hashes",))
    assert [(p.question, p.answer) for p in problems] == [(f"What is {k}+{k}?", str(2 * k)) for k in range(6)]
    assert len({p.id for p in problems}) == 6


@pytest.mark.parametrize("kind", [as_parquet, as_dataset_folder])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, kind, no_hub):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"has no column 'problem'; it has \['answer', 'question', 'topic'\]"):
        read(source=kind(tmp_path / "data"), question="problem")


def test_a_dataset_that_is_nowhere_is_one_line(no_hub):
    with pytest.raises(DataError, match=r"^cannot load source 'nobody/nothing' \(subset main, split 'train'\)[^\n]*$"):
        read(source="nobody/nothing", subset="main")


def test_a_parquet_file_that_is_none_is_one_line(tmp_path):
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(DataError, match=r"^cannot read problems from [^\n]*bad\.parquet: [^\n]*$"):
        read(source=str(tmp_path / "bad.parquet"))


def test_an_empty_cell_of_a_parquet_file_is_named_by_its_row(tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([ROWS[0], ROWS[1] | {"answer": None}]), tmp_path / "rows.parquet"
    )
    with pytest.raises(DataError, match=r"rows\.parquet, row 2 has answer=None"):
        read(source=str(tmp_path / "rows.parquet"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no problem"),
        ("{", ":1 is not JSON"),
        ("[1]", ":1 must be an object"),
        ('{"question": "a", "answer": 1}\n\n{"question": "a"}', ":3 has answer=None"),
        ('{"question": " ", "answer": 1}', "has question=' '"),
        ('{"question": "a", "answer": true}', "has answer=True"),
        ('{"question": "a", "answer": 1}\n{"question": "a", "ans', ":2 is not JSON"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path, text, says):
    path = tmp_path / "problems.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read(source=str(path))
    assert says in str(error.value)
    assert "problems.jsonl" in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(DataError, match="cannot read problems from"):
        read(source=str(tmp_path / "bad.jsonl"))


def test_a_line_separator_inside_a_question_does_not_end_its_row(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"question": "a\u2028b", "answer": 1}, ensure_ascii=False), encoding="utf-8")
    assert read(source=str(path))[0].question == "a\u2028b"


def test_a_missing_file_is_refused():
    with pytest.raises(DataError, match=r"cannot read problems from nowhere\.jsonl"):
        read(source="nowhere.jsonl")


def test_columns_are_mapped(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "one", "ask": "1+1?", "gold": 2}))
    (problem,) = read(source=str(path), question="ask", answer="gold")
    assert (problem.id, problem.question, problem.answer) == ("one", "1+1?", "2")


@pytest.mark.parametrize("kind", [as_jsonl, as_parquet, as_dataset_folder])
def test_whole_rows_are_kept_for_rewards_that_ask_for_them_alone(tmp_path, kind, no_hub):
    (tmp_path / "data").mkdir()
    source = SourceConfig(source=kind(tmp_path / "data"))
    assert [p.row for p in read_problems(source, rows=True)[0]] == ROWS
    assert [p.row for p in read_problems(source)[0]] == [{}] * len(ROWS)


def test_problems_may_have_no_answer_where_none_is_compared(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"question": "Write a poem."}))
    (problem,) = read(source=str(path), answer=None)
    assert problem.answer is None
    for fields in ({"rules": ["boxed"]}, {"held_out": 1}):
        with pytest.raises(ConfigError, match="answer=null of 'p' leaves nothing for"):
            build(SourceConfig, {"source": "p", "answer": None, **fields})
    with pytest.raises(ConfigError, match=r"data\.evaluate has a source with answer=null"):
        build(DataConfig, {"evaluate": [{"source": "p", "answer": None}]})


def test_a_scorer_of_reasoning_gym_finds_in_the_row_what_it_needs():
    import reasoning_gym

    (problem,) = read_problems(
        SourceConfig(source="reasoning-gym:graph_color", answer=None, options={"size": 1}), True
    )[0]
    score: Any = reasoning_gym.get_score_answer_fn(problem.row["metadata"]["source_dataset"])
    assert problem.answer is None  # a graph has many colourings
    assert score(json.dumps(problem.row["metadata"]["possible_answer"]), problem.row) == 1


def test_an_answer_in_which_the_rules_find_none_is_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"question": "1+1?", "answer": "two"}))
    with pytest.raises(DataError, match=r":1 has answer='two', in which \['hashes'\] find no answer"):
        read(source=str(path), rules=("hashes",))


def test_rows_of_gsm8k_are_read_with_their_answers_at_the_end_of_the_solution():
    problems = read(source=str(GSM8K), rules=("hashes",))
    assert len(problems) == 12
    assert all(str(p.answer).replace(",", "").isdigit() for p in problems)


def test_reasoning_gym_makes_problems_by_task_and_seed():
    problems = read(source="reasoning-gym:chain_sum", options={"size": 5, "seed": 1})
    assert len(problems) == 5
    assert all(str(p.answer).lstrip("-").isdigit() for p in problems)
    assert problems == read(source="reasoning-gym:chain_sum", options={"size": 5, "seed": 1})
    assert problems != read(source="reasoning-gym:chain_sum", options={"size": 5, "seed": 2})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": "reasoning-gym:chain_sun"}, "chain_sun"),
        ({"source": "reasoning-gym:chain_sum", "options": {"min_termz": 2}}, "min_termz"),
        ({"source": "arithmetic", "options": {"larges": 2}}, "unknown key larges; .* Did you mean 'largest'"),
        ({"source": "arithmetic", "options": {"largest": 1}}, "largest=1 of 'arithmetic' must be at least 2"),
    ],
)
def test_a_generator_refuses_what_it_does_not_know(fields, says):
    with pytest.raises(ConfigError, match=says):
        read(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": "a.jsonl", "options": {"size": 2}}, "only 'arithmetic' and 'reasoning-gym:TASK' take any"),
        ({"source": "a.jsonl", "weight": 0}, "weight=0.0 of 'a.jsonl' must be positive"),
        ({"source": "a.jsonl", "held_out": -1}, "held_out=-1 of 'a.jsonl' must be at least 0"),
        ({"source": ""}, "must name a source"),
        ({}, "source is required"),
        ({"source": "a.jsonl", "rules": ["hash"]}, "rules.0='hash' must be 'answer-tag', "),
    ],
)
def test_a_source_that_cannot_be_is_refused(fields, says):
    with pytest.raises(ConfigError) as error:
        build(SourceConfig, fields)
    assert says in str(error.value)


def test_sums_come_both_ways_round_and_once():
    problems = list(arithmetic(ArithmeticConfig(largest=3)))
    assert [p.id for p in problems] == ["1+1", "1+2", "2+1", "1+3", "3+1", "2+2", "2+3", "3+2", "3+3"]
