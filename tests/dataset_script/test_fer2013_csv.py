from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dataset_script.bad_input import BadInput
from dataset_script.fer2013_csv import find_fer2013_csv, read_fer2013_csv
from dataset_script.file_tree import open_file_tree

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
TEXTS = [" ".join(map(str, pixels.ravel())) for pixels in PIXELS]
GOOD = f"emotion,pixels,Usage\n3,{TEXTS[0]},Training\n0,{TEXTS[1]},PublicTest\n6,{TEXTS[2]},PrivateTest\n"


@pytest.fixture
def read(write_source):
    def read_text(text, on_error="stop", kind="folder", name="fer2013.csv"):
        bad = BadInput("source", on_error)
        tree = open_file_tree(write_source({name: text.encode()}, kind), bad)
        found = find_fer2013_csv(tree)
        return read_fer2013_csv(tree, found, bad), bad.left_out

    return read_text


@pytest.mark.parametrize(
    ("kind", "name"), [("folder", "fer2013.csv"), ("zip", "fer2013/fer2013.csv"), ("tar.gz", "fer2013/fer2013.csv")]
)
def test_rows_become_png_images_with_their_class_and_part(read, kind, name):
    faces, _ = read(GOOD, kind=kind, name=name)
    assert [(face.part, face.label) for face in faces] == [("train", 3), ("validation", 0), ("test", 6)]
    for face, pixels in zip(faces, PIXELS, strict=True):
        image = Image.open(io.BytesIO(face.read()))
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert len({face.group for face in faces}) == 3


def test_columns_in_another_order_with_spaces_and_no_usage(read):
    text = f" pixels, emotion\n{TEXTS[0]},1\n"
    (face,), _ = read(text)
    assert (face.part, face.label, face.path) == ("train", 1, "fer2013.csv#2")


def test_classes_may_be_numbers_of_pandas_which_writes_a_point_where_one_is_missing(read):
    text = f"emotion,pixels\n3.0,{TEXTS[0]}\n,{TEXTS[1]}\n0.0,{TEXTS[2]}\n2.5,{TEXTS[2]}\n"
    faces, left_out = read(text, on_error="skip")
    assert [(face.path, face.label) for face in faces] == [("fer2013.csv#2", 3), ("fer2013.csv#4", 0)]
    assert len(left_out) == 2 and "has the emotion ''" in left_out[0] and "has the emotion '2.5'" in left_out[1]


@pytest.mark.parametrize("side", [64, 96, 224])
def test_faces_of_another_size_are_read(read, side):
    pixels = np.random.default_rng(1).integers(100, 256, (side, side), dtype=np.uint8)
    (face,), _ = read(f"emotion,pixels\n3,{' '.join(map(str, pixels.ravel()))}\n")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(face.read()))), pixels)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_what_a_spreadsheet_makes_of_it_is_read(write_source, encoding, delimiter, kind):
    text = GOOD.replace(",", delimiter).replace("\n", "\r\n")
    tree = open_file_tree(write_source({"fer2013.csv": text.encode(encoding)}, kind), BadInput("source", "stop"))
    faces = read_fer2013_csv(tree, find_fer2013_csv(tree), BadInput("source", "stop"))
    assert [(face.part, face.label) for face in faces] == [("train", 3), ("validation", 0), ("test", 6)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            f"3,{TEXTS[0].rsplit(' ', 1)[0]},Training",
            "has 2303 pixels, not a square number of them such as 48 x 48 = 2304",
        ),
        (f"3,{TEXTS[0]} 7,Training", "has 2305 pixels"),
        (f"3,{TEXTS[0]}", "has 2 fields"),
        (f"3,{TEXTS[0].replace(' ', ' x', 1)},Training", "has a pixel that is not a whole number from 0 to 255"),
        ("3," + TEXTS[0].rsplit(" ", 1)[0] + " 256,Training", "has a pixel that is not a whole number"),
        ("3," + TEXTS[0].rsplit(" ", 1)[0] + " 1.5,Training", "has a pixel that is not a whole number"),
        (f"7,{TEXTS[0]},Training", "has the emotion '7'"),
        (f"-1,{TEXTS[0]},Training", "has the emotion '-1'"),
        (f"happy,{TEXTS[0]},Training", "has the emotion 'happy'"),
        (f"3,{TEXTS[0]},Later", "has the usage 'Later'"),
    ],
)
def test_a_bad_row_stops_with_its_line_or_is_skipped(read, row, problem):
    with pytest.raises(ValueError, match=rf"fer2013\.csv#5 {problem}"):
        read(GOOD + row + "\n")
    faces, left_out = read(GOOD + row + "\n", "skip")
    assert len(faces) == 3
    assert len(left_out) == 1
    assert problem in left_out[0]


def test_of_several_csv_files_fer2013_csv_is_taken(write_source):
    files = {"c/fer2013.csv": GOOD, "c/icml_face_data.csv": GOOD, "c/other.csv": "a,b\n1,2\n"}
    source = write_source({name: text.encode() for name, text in files.items()})
    assert find_fer2013_csv(open_file_tree(source, BadInput("source", "stop"))) == "c/fer2013.csv"


def test_several_csv_files_without_that_name_are_an_error(write_source):
    source = write_source({"a.csv": GOOD.encode(), "b.csv": GOOD.encode()})
    with pytest.raises(ValueError, match=r"several csv files of faces \(a\.csv, b\.csv\)"):
        find_fer2013_csv(open_file_tree(source, BadInput("source", "stop")))


def test_a_csv_of_something_else_is_not_taken(write_source):
    source = write_source({"list.csv": b"file,label\na.png,1\n"})
    assert find_fer2013_csv(open_file_tree(source, BadInput("source", "stop"))) is None


def test_a_csv_on_its_own_may_be_called_txt(tmp_path):
    (tmp_path / "fer.txt").write_text(GOOD)
    tree = open_file_tree(tmp_path / "fer.txt", BadInput("source", "stop"))
    assert len(read_fer2013_csv(tree, find_fer2013_csv(tree), BadInput("source", "stop"))) == 3


@pytest.mark.parametrize("text", ["file,label\na.png,1\n", ""])
def test_a_csv_of_something_else_on_its_own_is_an_error_that_names_the_columns(tmp_path, text):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=r"list\.csv: the first line does not name the columns emotion and pixels"):
        find_fer2013_csv(open_file_tree(tmp_path / "list.csv", BadInput("source", "stop")))


@pytest.mark.parametrize("where", ["header", "content"])
def test_a_damaged_csv_in_an_archive_is_named(write_source, where):
    source = write_source({"fer2013.csv": GOOD.encode()}, "zip")
    data = bytearray(source.read_bytes())
    start = data.index(GOOD[:20].encode())
    data[0 if where == "header" else start + 20_000] ^= 1
    source.write_bytes(data)
    bad = BadInput("source", "stop")
    with pytest.raises(ValueError, match=r"fer2013\.csv is truncated or damaged .*get it again"):
        tree = open_file_tree(source, bad)
        read_fer2013_csv(tree, find_fer2013_csv(tree), bad)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize("row", [1, 3])
def test_a_quote_that_is_not_closed_is_damage(read, on_error, row):
    lines = GOOD.splitlines()
    lines[row] = lines[row].replace(",", ',"', 1)
    with pytest.raises(ValueError, match=rf"fer2013\.csv is truncated or damaged .*line {row + 1}\)"):
        read("\n".join(lines) + "\n", on_error)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize("column", ["emotion", "pixels", "Usage"])
def test_a_column_that_is_there_twice_is_an_error(read, column, on_error):
    text = "".join(f"{line},{more}\n" for line, more in zip(GOOD.splitlines(), (column, 1, 1, 1), strict=True))
    with pytest.raises(ValueError, match=rf"fer2013\.csv has the column '{column.lower()}' more than once"):
        read(text, on_error)


@pytest.mark.parametrize(
    ("text", "first_line"),
    [
        ("sep=;\r\n" + GOOD.replace(",", ";"), 3),
        ('"sep=|"\n' + GOOD.replace(",", "|"), 3),
        ("\n\n" + GOOD, 4),
        (";;\n" + GOOD.replace(",", ";"), 3),
        (GOOD.replace("Usage\n", 'Usage,"a;b"\n').replace("ing\n", "ing,x\n").replace("Test\n", "Test,x\n"), 2),
    ],
    ids=["sep", "quoted sep", "blank lines", "empty row", "semicolon in a quoted name"],
)
def test_what_stands_before_and_in_the_header_is_understood(read, text, first_line):
    faces, _ = read(text)
    assert [(face.part, face.label) for face in faces] == [("train", 3), ("validation", 0), ("test", 6)]
    assert faces[0].path == f"fer2013.csv#{first_line}"
