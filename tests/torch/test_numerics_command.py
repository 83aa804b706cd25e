"""`sapo-gates numerics`: evidence by command, whole or in ranges, into a certificate."""

import json
import struct

import pytest
import torch

from sapo_gates import certify
from sapo_gates.certificate import load_certificate
from sapo_gates.cli import main
from sapo_gates.errors import ExportError
from sapo_gates.torch import surrogate
from sapo_gates.torch.numerics import CHUNK, check_float32

ONE_FIFTH = struct.unpack("<I", struct.pack("<f", 0.2))[0]


def test_a_range_of_float32_is_tried_number_by_number_and_kept_in_a_certificate(tmp_path, capsys):
    path, last = tmp_path / "arctan.json", ONE_FIFTH + 1000
    certify("arctan").save(path)
    arguments = ["--exhaustive", "--first", str(ONE_FIFTH), "--last", str(last), "-o", str(path), "--json"]
    assert main(["numerics", str(path), *arguments]) == 0
    printed = capsys.readouterr()
    entries = json.loads(printed.out)["numerics"]
    assert "1,000 of 1,000" in printed.err
    assert len(entries) == 6
    for entry in entries:
        assert (entry["kind"], entry["examples"], entry["bits"]) == ("exhaustive", 1000, [ONE_FIFTH, last])
        assert 0.2 <= float(entry["worst_input"]) < 0.2001
        assert entry["holds"]
    assert [dict(entry) for entry in load_certificate(path).numerics] == entries


def test_an_interrupt_leaves_the_evidence_of_what_was_tried():
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    evidence = check_float32(surrogate(certify("arctan")), 0, 2**32, stop)
    assert {tuple(entry["bits"]) for entry in evidence} == {(0, CHUNK)}
    assert all(entry["examples"] == CHUNK and entry["holds"] for entry in evidence)


def test_infinities_are_numbers_and_nans_are_not():
    infinity = int(torch.tensor(float("inf")).view(torch.int32).item())
    evidence = check_float32(surrogate(certify("arctan")), infinity - 5, infinity + 5)
    assert {entry["examples"] for entry in evidence} == {6}
    assert all(entry["holds"] for entry in evidence)


@pytest.mark.parametrize("ends", [(5, 5), (-1, 3), (0, 2**32 + 1)])
def test_a_range_that_is_none_is_refused(ends):
    with pytest.raises(ExportError, match=r"bits of a float32 lie in 0 <= first < last <= 2\*\*32"):
        check_float32(surrogate(certify("arctan")), *ends)


def test_a_sample_is_shown_line_by_line(capsys):
    assert main(["numerics", "arctan", "--dtype", "bfloat16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("bfloat16" in line and "in sampled numbers" in line for line in lines)
