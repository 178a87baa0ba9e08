from __future__ import annotations

import base64
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value, concatenate_datasets

from dataset_script.bad_input import BadInput
from dataset_script.file_tree import open_file_tree
from dataset_script.tables import is_hub_id, is_table, load_table, named_files, read_table, refuse_packed_tables

BAD_STOP = BadInput("source", "stop")


def table(encoded, labels, feature, **more):
    images = [{"bytes": encoded(i), "path": f"{i}.png"} for i in range(len(labels))]
    features = Features({"image": Image(), "label": feature, **dict.fromkeys(more, Value("string"))})
    return Dataset.from_dict({"image": images, "label": labels, **more}, features=features)


def test_classes_in_another_order_and_spelling_are_matched_by_name(encoded):
    names = ["neutral", "happiness", "anger"]
    faces = read_table(DatasetDict(train=table(encoded, [0, 1, 2], ClassLabel(names=names))), BAD_STOP)
    assert [face.label for face in faces] == [6, 3, 0]
    assert [face.read() for face in faces] == [encoded(i) for i in range(3)]


def test_labels_as_text(encoded):
    faces = read_table(DatasetDict(train=table(encoded, ["SAD", "fearful"], Value("string"))), BAD_STOP)
    assert [face.label for face in faces] == [4, 2]


@pytest.mark.parametrize("feature", [Value("int64"), ClassLabel(names=["0", "1"])])
def test_numbers_without_names_are_an_error_that_says_what_to_do(encoded, feature):
    with pytest.raises(ValueError, match=r"without names.*cast_column\('label', ClassLabel\(names="):
        read_table(DatasetDict(train=table(encoded, [0, 1], feature)), BAD_STOP)


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_missing_column_is_named_with_those_there(encoded, column):
    rows = table(encoded, ["sad", "happy"], Value("string")).rename_column(column, "thing")
    with pytest.raises(ValueError, match=rf"no column '{column}' but .*thing.*rename_column"):
        read_table(DatasetDict(train=rows), BAD_STOP)


def test_an_unknown_class_stops_or_is_skipped(encoded):
    rows = DatasetDict(train=table(encoded, [0, 1, 2], ClassLabel(names=["sad", "contempt", "happy"])))
    with pytest.raises(ValueError, match="train/000001 is of the unknown class 'contempt'"):
        read_table(rows, BAD_STOP)
    bad = BadInput("source", "skip")
    assert [face.label for face in read_table(rows, bad)] == [4, 3]
    assert len(bad.left_out) == 1


def test_split_names_give_the_part_and_only_a_test_part_may_be_unlabelled(encoded):
    feature = ClassLabel(names=["sad", "happy"])
    rows = DatasetDict(test=table(encoded, [-1], feature), val=table(encoded, [1], feature))
    assert [(face.part, face.label) for face in read_table(rows, BAD_STOP)] == [("test", -1), ("validation", 3)]
    with pytest.raises(ValueError, match="train/000001 has no label"):
        read_table(DatasetDict(train=table(encoded, [0, -1], feature)), BAD_STOP)


def test_group_and_path_columns_are_kept(encoded):
    rows = table(encoded, ["sad", "sad"], Value("string"), group=["Ann", "Bob"], path=["s/1.png", "s/2.png"])
    faces = read_table(DatasetDict(train=rows), BAD_STOP)
    assert [(face.group, face.path) for face in faces] == [("Ann", "s/1.png"), ("Bob", "s/2.png")]


VOTES = {"votes": [[0.0, 0, 0, 0.75, 0, 0, 0.25], None], "vote_counts": [[0, 0, 0, 6, 0, 0, 2, 1, 1, 0], None]}


def with_votes(encoded, **changes):
    """Two rows, the first of which has votes."""
    features = Features({"votes": List(Value("float64")), "vote_counts": List(Value("int32"))})
    rows = table(encoded, ["happy", "sad"], Value("string"))
    return concatenate_datasets([rows, Dataset.from_dict({**VOTES, **changes}, features=features)], axis=1)


def test_votes_are_kept_where_a_row_has_them(encoded):
    first, second = read_table(DatasetDict(train=with_votes(encoded)), BAD_STOP)
    assert (first.votes, first.vote_counts) == ((0, 0, 0, 0.75, 0, 0, 0.25), (0, 0, 0, 6, 0, 0, 2, 1, 1, 0))
    assert (second.votes, second.vote_counts) == (None, None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"votes": [[0.0, 0, 0, 6, 0, 0, 2], None]}, "train/000000 has the votes .* not 7 shares that sum to 1"),
        (
            {"votes": [[0.0, 0, 0, 0.25, 0, 0, 0.75], None]},
            "train/000000 is labelled Happy, but most votes are for another",
        ),
        ({"vote_counts": [None, [1] * 7]}, "train/000001 has the votes .* not 10 whole numbers"),
    ],
    ids=["counts for shares", "another order", "seven counts"],
)
def test_votes_of_another_form_stop_or_are_skipped(encoded, changes, problem):
    rows = DatasetDict(train=with_votes(encoded, **changes))
    with pytest.raises(ValueError, match=problem):
        read_table(rows, BAD_STOP)
    assert len(read_table(rows, BadInput("source", "skip"))) == 1


COUNTS = {
    "happy": [0, 0, 0, 6, 0, 0, 2, 1, 1, 0],
    "tie": [0, 0, 0, 5, 0, 0, 5, 0, 0, 0],
    "contempt": [0, 0, 0, 3, 0, 0, 0, 7, 0, 0],
    "nobody twice": [1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
}


def with_counts(encoded, *counts, labels=None):
    """Rows with counts of votes and without votes, all happy by default."""
    rows = table(encoded, labels or ["happy"] * len(counts), Value("string"))
    columns = Dataset.from_dict({"vote_counts": counts}, features=Features({"vote_counts": List(Value("int32"))}))
    return concatenate_datasets([rows, columns], axis=1)


def test_counts_without_votes_give_the_votes(encoded):
    bad = BadInput("source", "stop")
    first, second = read_table(DatasetDict(train=with_counts(encoded, COUNTS["happy"], None)), bad)
    assert (first.label, first.votes, first.vote_counts) == (3, (0, 0, 0, 0.75, 0, 0, 0.25), tuple(COUNTS["happy"]))
    assert (second.votes, second.vote_counts) == (None, None)
    assert bad.report() == ""


def test_rows_whose_counts_have_no_class_in_the_majority_are_left_out_and_noted(encoded):
    bad = BadInput("source", "stop")
    rows = with_counts(encoded, *COUNTS.values())
    assert [face.path for face in read_table(DatasetDict(train=rows), bad)] == ["train/000000"]
    assert bad.report() == (
        "left out 3 images because of their votes: 1 with a majority for 'Contempt', 2 with no majority"
    )


def test_a_label_that_the_counts_contradict_is_refused(encoded):
    rows = DatasetDict(train=with_counts(encoded, COUNTS["happy"], labels=["sad"]))
    with pytest.raises(ValueError, match="train/000000 is labelled Sad, but most votes are for another class"):
        read_table(rows, BAD_STOP)


def test_a_test_row_without_label_keeps_its_counts_and_stays_without(encoded):
    (face,) = read_table(DatasetDict(test=with_counts(encoded, COUNTS["happy"], labels=[None])), BAD_STOP)
    assert (face.label, face.votes[3]) == (-1, 0.75)


def test_image_files_that_the_table_only_points_to_are_read(tmp_path, encoded):
    path = tmp_path / "face.png"
    path.write_bytes(encoded(0))
    rows = Dataset.from_dict({"image": [str(path)], "label": ["sad"]}).cast_column("image", Image())
    (face,) = read_table(DatasetDict(train=rows), BAD_STOP)
    assert face.read() == encoded(0)
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        face.read()


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (["data/train-0.parquet"], True),
        (["train/data-00000-of-00001.arrow"], True),
        (["metadata.csv", "1.png"], True),
        (["default/train/0000.parquet"], True),
        (["data/train/Metadata.csv", "data/train/1.png"], True),
        (["Angry/1.png", "notes.jsonl"], False),
        (["archive/train/S001/Happy/1.png", "results.parquet"], False),
        (["fer2013.csv"], False),
    ],
)
def test_which_folders_are_for_the_datasets_library(write_source, names, answer):
    assert is_table(write_source(dict.fromkeys(names, b""))) is answer


@pytest.mark.parametrize(
    ("data", "answer"),
    [("owner/faces-1.0", True), ("faces", False), ("../faces", False), ("a/b/c", False), ("/x", False)],
)
def test_which_names_can_be_a_hub_id(data, answer):
    assert is_hub_id(data) is answer


@pytest.mark.parametrize("images", [[1, 2], [1.5, 2.5]])
def test_a_column_of_images_that_holds_numbers_is_an_error(images):
    rows = Dataset.from_dict({"image": images, "label": ["sad", "happy"]})
    with pytest.raises(ValueError, match=r"^source: the column 'image' of split 'train' holds .*, not images"):
        read_table(DatasetDict(train=rows), BAD_STOP)


@pytest.mark.parametrize("file", ["a.parquet", "a.jsonl", "folder/train/a.parquet", "folder/metadata.csv"])
def test_a_table_that_is_a_git_lfs_pointer_is_refused_as_one(write_source, tmp_path, file):
    source = write_source({file: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
    with pytest.raises(ValueError, match=rf"{file} is a Git LFS pointer.*run `git lfs pull`"):
        load_table(str(source / file.split("/")[0]), tmp_path / "cache")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_metadata_csv_of_a_spreadsheet_is_read(write_source, encoded, tmp_path, separator, encoding):
    lines = ["file_name,label,group", *(f"{name}.png,{name},p{i:03}" for i, name in enumerate(("happy", "sad")))]
    text = "\r\n".join(lines).replace(",", separator).encode(encoding)
    images = {"happy.png": encoded(0), "sad.png": encoded(1)}
    source = write_source({"metadata.csv": text, **images})
    faces = read_table(load_table(str(source), tmp_path / "cache"), BAD_STOP)
    assert [(face.label, face.group, face.read()) for face in faces] == [
        (3, "p000", images["happy.png"]),
        (4, "p001", images["sad.png"]),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name, label\nhappy.png, happy\nsad.png, sad\n"),
        ("metadata.csv", "File_Name,Label\nhappy.png,happy\nsad.png,sad\n"),
        ("Metadata.csv", "file_name,label\nhappy.png,happy\nsad.png,sad\n"),
        ("metadata.jsonl", '{"file_name": "happy.png", "label": "happy"}\n{"file_name": "sad.png", "label": "sad"}\n'),
    ],
    ids=["spaces", "capitals", "capital file", "json"],
)
@pytest.mark.parametrize("folder", ["faces", "data/train", "[v2]"])
def test_metadata_as_people_write_them(write_source, encoded, tmp_path, folder, name, text):
    images = {f"{folder}/{name}.png": encoded(i) for i, name in enumerate(("happy", "sad"))}
    source = write_source({f"{folder}/{name}": text.encode(), **images})
    path = source / folder if folder == "[v2]" else source
    faces = read_table(load_table(str(path), tmp_path / "cache"), BAD_STOP)
    assert [(face.part, face.label, face.read()) for face in faces] == [
        ("train", label, data) for label, data in zip((3, 4), images.values(), strict=True)
    ]


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("before", [0, 1000])
def test_a_metadata_csv_in_another_encoding_is_to_be_saved_as_utf8(write_source, encoded, tmp_path, separator, before):
    rows = ["file_name,label", *before * ["e.png,sad"], "é.png,sad"]
    text = "\r\n".join(rows).replace(",", separator).encode("cp1252")
    source = write_source({"metadata.csv": text, "é.png": encoded(0), "e.png": encoded(1)})
    with pytest.raises(ValueError, match=r"source: `datasets` cannot load it .*; save the csv as UTF-8"):
        load_table(str(source), tmp_path / "cache")


def test_a_metadata_csv_without_its_folder_is_refused(write_source, tmp_path):
    source = write_source({"metadata.csv": b"file_name,label\nx.png,sad\n"})
    with pytest.raises(ValueError, match=r"metadata\.csv lists images of its folder; name the folder"):
        load_table(str(source / "metadata.csv"), tmp_path / "cache")


def test_a_list_of_images_that_is_named_without_its_folder_is_refused(write_source, tmp_path):
    source = write_source({"metadata.jsonl": b'{"file_name": "x.png", "label": "sad"}\n'}) / "metadata.jsonl"
    with pytest.raises(ValueError, match=r"metadata\.jsonl lists images of its folder; name the folder"):
        read_table(load_table(str(source), tmp_path / "cache"), BadInput(str(source), "stop"))


def parquet(encoded, labels=("happy", "sad")):
    buffer = io.BytesIO()
    table(encoded, list(labels), Value("string")).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["faces.parquet", "FACES.PARQUET", "faces.pq", "faces.parq", "faces.parquet.gzip", "faces"]
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_parquet_is_known_by_its_content(write_source, encoded, tmp_path, name, is_alone):
    source = write_source({f"default/train/{name}": parquet(encoded), "default/train/notes.txt": b"of the faces"})
    path = source / "default/train" / name if is_alone else source
    assert is_table(path)
    faces = read_table(load_table(str(path), tmp_path / "cache"), BAD_STOP)
    assert [(face.part, face.label, face.read()) for face in faces] == [
        ("train", 3, encoded(0)),
        ("train", 4, encoded(1)),
    ]


def test_parquet_of_view_types_is_read(encoded, tmp_path):
    columns = {"image": pa.array([encoded(0), encoded(1)], pa.binary_view())}
    columns["label"] = pa.array(["happy", "sad"], pa.string_view())
    pq.write_table(pa.table(columns), tmp_path / "faces.parquet")
    faces = read_table(load_table(str(tmp_path / "faces.parquet"), tmp_path / "cache"), BAD_STOP)
    assert [(face.label, face.read()) for face in faces] == [(3, encoded(0)), (4, encoded(1))]


@pytest.mark.parametrize("as_lines", [True, False])
def test_json_on_its_own(write_source, encoded, tmp_path, as_lines):
    source = write_source({"x.png": encoded(0)})
    rows = [{"image": str(source / "x.png"), "label": label} for label in ("happy", "sad")]
    text = "\n".join(map(json.dumps, rows)) if as_lines else json.dumps(rows)
    (source / "faces.json").write_text(text)
    assert is_table(source / "faces.json")
    faces = read_table(load_table(str(source / "faces.json"), tmp_path / "cache"), BAD_STOP)
    assert [face.label for face in faces] == [3, 4]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["metadata.csv", "data/train.parquet"])
def test_a_table_in_an_archive_is_to_be_unpacked(write_source, name, kind):
    tree = open_file_tree(write_source({name: b"", "x.png": b""}, kind), BAD_STOP)
    with pytest.raises(ValueError, match=rf"source\.{kind}: {name} is a table, .* unpack it"):
        refuse_packed_tables(tree)
    refuse_packed_tables(open_file_tree(write_source({name: b"", "happy/x.png": b""}, kind), BAD_STOP))


def test_images_that_a_table_names_in_place_of_holding_them(encoded):
    held = table(encoded, ["sad"], Value("string"))
    images = [{"bytes": None, "path": "a.png"}, {"bytes": encoded(0), "path": "b.png"}, None]
    named = Dataset.from_dict({"image": images}, features=Features({"image": Image()}))
    texts = Dataset.from_dict({"image": ["c.png", None, "x" * 5000]})
    others = {"numbers": Dataset.from_dict({"image": [1]}), "none": Dataset.from_dict({"label": ["sad"]})}
    assert list(named_files({"held": held, "named": named, "texts": texts, **others})) == ["a.png", "c.png"]


def test_images_in_base64_are_refused_in_a_short_line_that_says_what_to_do(write_source, encoded, tmp_path):
    text = base64.b64encode(encoded(0, size=64)).decode()
    source = write_source({"a.jsonl": json.dumps({"image": text, "label": "sad"}).encode()})
    (face,) = read_table(load_table(str(source / "a.jsonl"), tmp_path / "cache"), BAD_STOP)
    with pytest.raises(ValueError, match=r"\A.{,80}Base64, decode it and save the bytes as Parquet\Z"):
        face.read()
