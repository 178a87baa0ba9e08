"""The command of the operator's benchmark, on small images and without its clock."""

import importlib.util
import runpy
import sys

import pytest
import torch

from benchmarks import involution


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    """Calls each function once and takes it to last 1, 2, 3, ... ms, in the order given."""

    def call(functions, rounds=5, seconds=0.05):
        for function in functions.values():
            function()
        return {name: (rank + 1) / 1000 for rank, name in enumerate(functions)}

    monkeypatch.setattr(involution, "time_in_turn", call)
    monkeypatch.setattr(involution, "memory_bandwidth", lambda device: 1e9)


def test_sizes_batches_types_and_layouts_are_flags(tmp_path):
    flags = ["--sizes", "32", "--batches", "1", "2", "--types", "float32", "bfloat16", "--against", "unfold"]
    involution.main([*flags, "--out", str(tmp_path)])
    names = {"involution_cpu.md", "involution_cpu.png", "involution_cpu_bfloat16.md", "involution_cpu_bfloat16.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    text = (tmp_path / "involution_cpu.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| 32")]
    assert [(row[1], row[2]) for row in rows] == [(batch, stage) for batch in "12" for stage in "1234"]
    assert "| forward, ms | ours, contiguous / ours | unfold / ours | bound / ours |" in text
    assert rows[0][3:6] == ["1", "2", "3"]
    assert "at 32 px and batch 2, summed: unfold / ours 3.0." in text


def test_the_first_layout_is_ours(tmp_path):
    involution.main(
        ["--sizes", "32", "--batches", "1", "--layouts", "contiguous", "--against", "unfold", "--out", str(tmp_path)]
    )
    text = (tmp_path / "involution_cpu.md").read_text()
    assert "ours contiguous" in text.splitlines()[0]
    assert "ours, " not in text.splitlines()[2]


def test_the_unfold_is_compiled_anew_for_each_shape(monkeypatch, tmp_path):
    compiled = []

    def compile_(function, dynamic):
        compiled.append(dynamic)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    involution.main(["--sizes", "32", "--batches", "1", "2", "--against", "unfold", "compiled", "--out", str(tmp_path)])
    assert compiled == [False] * 8
    assert "compiled unfold / ours" in (tmp_path / "involution_cpu.md").read_text()


def test_a_package_that_is_missing_is_left_out_unasked_and_named_where_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cpu = torch.device("cpu")
    assert involution.parse([], cpu).against == ["unfold"]
    assert capsys.readouterr().err == "without package: its package involution_pytorch is not installed\n"
    with pytest.raises(SystemExit):
        involution.parse(["--against", "package"], cpu)
    assert "package needs the package involution_pytorch" in capsys.readouterr().err


def test_it_is_imported_without_the_others(monkeypatch):
    for name in ("involution_pytorch", "cupy"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    assert "main" in runpy.run_path(involution.__file__)


def test_stages_are_those_of_rednet50():
    assert involution.stages(352) == [(64, 88), (128, 44), (256, 22), (512, 11)]
    assert involution.stages(224) == [(64, 56), (128, 28), (256, 14), (512, 7)]
