import pytest

from involvit.prediction.processes import processes, same_for_all


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    processes.cache_clear()
    yield
    processes.cache_clear()


@pytest.mark.parametrize("world_size", [None, "", "1", " 1"])
def test_a_process_by_itself_is_the_main_one_of_one(monkeypatch, caplog, world_size):
    if world_size is not None:
        monkeypatch.setenv("WORLD_SIZE", world_size)
    group = processes()
    assert (group.process_index, group.num_processes, group.is_main_process) == (0, 1, True)
    group.wait_for_everyone()
    assert caplog.messages == []
    value = {"a", "b"}
    assert same_for_all(value) is value
