import pytest

from involvit.publishing.model_card import BEGIN, END, write_model_card


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("README.md", f"mine {BEGIN} and no end", "must be there once each"),
        ("README.md", f"{END}\n{BEGIN}", "must be there once each"),
        ("README.md", "---\nlicense: [\n---\nmine", "not valid YAML"),
        ("README.md", b"\xff\xfe\x00", "UTF-8"),
        ("report.json", "{", "not valid JSON"),
        ("report.json", "[]", "not hold a JSON object"),
        ("report.json", '{"metrics": {}}', "not as train.py writes it"),
        ("config.json", "", "not valid JSON"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line_and_nothing_is_changed(folder, name, content, message):
    path = folder()
    (path / "README.md").write_text("mine")
    (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(ValueError, match=message) as error:
        write_model_card(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        write_model_card(tmp_path)
