import os

import pytest

from involvit.launcher import was_launched

WHOLE = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
NAMES = (*WHOLE, "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "left_over",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "abc"},
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
    assert "WORLD_SIZE" in line and "ignored" in line
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
