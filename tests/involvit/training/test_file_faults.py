import errno

import pytest
from safetensors import SafetensorError

from involvit.training.file_faults import naming_full_disk, read_fields

DAMAGED = [b"", b"{", b"[]", b"{}", b"\xff", b"- a", b"a: [", b"just words", b"[" * 5000]


@pytest.mark.parametrize("name", ["x.json", "x.yaml"])
@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: str(content[:20]))
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s){name} is damaged \(.+\); remove it"):
        read_fields(tmp_path / name, "remove it", ["step"])


def test_a_folder_in_the_place_of_a_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"report\.json cannot be read \(Is a directory\); remove it"):
        (tmp_path / "report.json").mkdir()
        read_fields(tmp_path / "report.json", "remove it")


def test_the_fields_of_a_whole_file_are_returned(tmp_path):
    (tmp_path / "x.json").write_text('{"step": 1, "more": [2]}')
    assert read_fields(tmp_path / "x.json", "", ["step"]) == {"step": 1, "more": [2]}


@pytest.mark.parametrize(
    "error", [SafetensorError("full"), RuntimeError("full"), OSError(errno.ENOSPC, "full")], ids=repr
)
def test_an_error_of_writing_is_one_of_the_system_and_names_the_folder(tmp_path, error):
    with pytest.raises(OSError, match=rf"(?s){tmp_path}.*full|full.*{tmp_path}"), naming_full_disk(tmp_path):
        raise error
