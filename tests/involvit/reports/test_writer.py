import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from involvit.reports.blocks import Bullets, Paragraph, Picture, Section, Table
from involvit.reports.figures import new_figure
from involvit.reports.writer import check_report_folder, to_terminal, write_report


def build_sections():
    figure = new_figure(2, 1)
    figure.add_subplot().plot([0, 1])
    return [
        Section("First <&>", [Paragraph("a < b"), Bullets(["one", "two"])]),
        Section(
            "Second",
            [Table(("Name", "Value"), [("x|y", 0.12345), ("z", None)], "Caption"), Picture("line", figure, "A line")],
        ),
    ]


@pytest.fixture
def sections():
    return build_sections()


class Reader(HTMLParser):
    """Collects text, cells and the addresses that a page would load."""

    def __init__(self, page):
        super().__init__()
        self.text, self.loads, self.open = "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "srcset") or (tag == "link")]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_loads_nothing(tmp_path, sections):
    page = write_report(tmp_path / "out", "Title", "involvit x", sections, {}).read_text()
    reader = Reader(page)
    assert reader.open == []
    assert "First <&>" in reader.text
    assert "a < b" in reader.text
    assert len(reader.loads) == 1
    kind, _, data = reader.loads[0].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "out/figures/line.png").read_bytes()
    assert not re.search(r"https?://|url\(|@import", page)


def test_markdown_has_the_same_cells_and_pictures(tmp_path, sections):
    write_report(tmp_path / "out", "Title", "involvit x", sections, {})
    text = (tmp_path / "out/report.md").read_text()
    assert "| Name | Value |\n| --- | ---: |\n| x\\|y | 0.123 |\n| z | - |" in text
    assert "- one\n- two" in text
    assert (tmp_path / "out" / re.search(r"!\[A line\]\((.*)\)", text)[1]).exists()


def test_json_keeps_full_precision_and_standard_numbers(tmp_path, sections):
    results = {"array": np.array([1 / 3, np.nan]), "count": np.int64(3), "nested": {"x": (float("inf"), True)}}
    write_report(tmp_path / "out", "Title", "involvit x", sections, results)
    content = json.loads((tmp_path / "out/report.json").read_text())
    assert content["array"] == [1 / 3, None]
    assert content["count"] == 3
    assert content["nested"] == {"x": [None, True]}
    assert content["command"] == "involvit x"


def test_the_same_report_is_the_same_bytes(tmp_path):
    pages = [write_report(tmp_path / name, "Title", "c", build_sections(), {"a": 1}) for name in ("one", "two")]
    for name in ("report.html", "report.md", "report.json", "figures/line.png"):
        assert (pages[0].parent / name).read_bytes() == (pages[1].parent / name).read_bytes()


def test_only_a_report_is_overwritten_and_only_on_request(tmp_path, sections):
    out = tmp_path / "out"
    write_report(out, "Old", "c", sections, {})
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_report(out, "New", "c", sections, {})
    assert "Old" in (out / "report.md").read_text()
    write_report(out, "New", "c", sections, {}, overwrite=True)
    assert "New" in (out / "report.md").read_text()
    (out / "thesis.tex").touch()
    for refuse in (lambda: write_report(out, "New", "c", sections, {}, True), lambda: check_report_folder(out, True)):
        with pytest.raises(FileExistsError, match=r"thesis\.tex"):
            refuse()


def test_a_report_that_fails_leaves_nothing(tmp_path, sections):
    with pytest.raises(TypeError):
        write_report(tmp_path / "out", "Title", "c", sections, {"x": object()})
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_what_writing_would(tmp_path):
    check_report_folder(tmp_path / "new", False)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        check_report_folder(tmp_path / "file", True)
    with pytest.raises(FileExistsError, match="--overwrite"):
        check_report_folder(tmp_path, False)


def test_pictures_of_one_name_are_refused(tmp_path, sections):
    with pytest.raises(ValueError, match="same name"):
        write_report(tmp_path / "out", "Title", "c", [*sections, sections[1]], {})


def test_the_terminal_shows_a_table_in_columns_with_its_caption():
    table = Table(("Name", "Value"), [("x|y", 0.12345), ("longer", None)], "Caption", decimals=2)
    assert to_terminal([table, table]) == "\n\n".join(
        2 * ["Name    Value\n-------------\nx|y      0.12\nlonger      -\nCaption"]
    )


def test_text_and_tables_are_written_where_matplotlib_and_jinja_are_not():
    script = (
        "import sys; sys.modules |= {'matplotlib': None, 'jinja2': None};"
        "from involvit.reports.blocks import Paragraph; from involvit.reports.writer import to_markdown;"
        "print(to_markdown([Paragraph('Text')]), 'datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "Text False\n"
