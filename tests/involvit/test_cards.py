import pytest

from involvit.cards import readable_card


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"---\nlicense: mit\n---\n# Mine\n", "# Mine\n"),
        (b"# Mine\n", "# Mine\n"),
        (b"---\nlicense: mit\nmodel-index: 3\n---\n# Mine\n", "# Mine\n"),
        (b"---\ntitle: My model: the best\n---\n# Mine\n", None),
        (b"---\n- mit\n---\n# Mine\n", None),
        ("# Modèle\n".encode("cp1252"), None),
    ],
)
def test_a_card_that_others_wrote_is_read_or_taken_for_none(tmp_path, content, text):
    (tmp_path / "README.md").write_bytes(content)
    card = readable_card(tmp_path / "README.md")
    assert (card and card.text) == text


def test_where_there_is_none_there_is_none(tmp_path):
    assert readable_card(None) is readable_card(tmp_path) is readable_card(tmp_path / "README.md") is None
