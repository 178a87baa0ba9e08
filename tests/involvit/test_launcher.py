import os

import pytest
from accelerate.commands.launch import launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env

from involvit.launcher import was_launched

WHOLE = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
NAMES = (*WHOLE, "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "left_over",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "abc"},
        {"PMI_SIZE": "2"},
        {"OMPI_COMM_WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1"},
        {**WHOLE, "RANK": ""},
        {**WHOLE, "RANK": "2"},
        {**WHOLE, "LOCAL_RANK": "x"},
        {**WHOLE, "LOCAL_WORLD_SIZE": "2,1"},
        {**WHOLE, "WORLD_SIZE": "0"},
        {**WHOLE, "MASTER_PORT": "http"},
        {name: value for name, value in WHOLE.items() if name != "MASTER_ADDR"},
    ],
)
def test_what_is_left_over_of_a_launcher_is_removed_with_one_line(monkeypatch, caplog, left_over):
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    assert [was_launched() for _ in range(2)] == [False, False]
    (line,) = caplog.messages
    assert "_SIZE" in line and "ignored" in line
    assert not {*NAMES} & {*os.environ}


@pytest.mark.parametrize("alone", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}, {"LOCAL_RANK": "1"}, {"RANK": "x"}])
def test_a_process_that_nobody_says_has_others_is_alone_without_a_word(monkeypatch, caplog, alone):
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    assert not was_launched()
    assert caplog.messages == []
    assert not {*NAMES} & {*os.environ}  # accelerate takes a LOCAL_RANK for one of several processes


@pytest.mark.parametrize("more", [{"LOCAL_WORLD_SIZE": "1"}, {"TORCHELASTIC_RUN_ID": "x"}, {}])
def test_one_of_two_processes_keeps_its_variables(monkeypatch, caplog, more):
    for name, value in {**WHOLE, **more}.items():
        monkeypatch.setenv(name, value)
    assert was_launched()
    assert {name: os.environ[name] for name in WHOLE} == WHOLE
    assert len(caplog.messages) == ("TORCHELASTIC_RUN_ID" not in more)


def as_accelerate_starts_one(monkeypatch, *arguments):
    """Sets the environment that `accelerate launch` leaves where there are not several GPUs."""
    arguments = launch_command_parser().parse_args([*arguments, "--mixed_precision=no", "--dynamo_backend=no", "x.py"])
    arguments.use_cpu, arguments.num_cpu_threads_per_process = arguments.cpu, 1
    arguments.num_machines = arguments.num_machines or 1
    for name, value in prepare_simple_launcher_cmd_env(arguments)[1].items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("place", [["--cpu"], []], ids=["CPU", "one GPU"])
def test_accelerate_that_starts_one_process_of_two_is_refused_with_the_line_that_works(monkeypatch, place):
    as_accelerate_starts_one(monkeypatch, *place, "--num_processes=2")
    with pytest.raises(ValueError, match="ACCELERATE_USE_CPU=true torchrun --nproc_per_node N"):
        was_launched()


def test_accelerate_that_starts_one_process_of_one_is_not(monkeypatch, caplog):
    as_accelerate_starts_one(monkeypatch, "--cpu", "--num_processes=1")
    assert not was_launched()
    assert caplog.messages == []
