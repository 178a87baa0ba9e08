"""FER+ in the two forms in which people have it."""

import io
import logging

import numpy as np
import pytest
from PIL import Image, ImageFile

from dataset_script import LABELS, load_fer_dataset
from dataset_script.votes import ANSWERS

# Columns of the published files after name and box, or Usage and name.
COLUMNS = ("Neutral", "Happy", "Surprise", "Sad", "Angry", "Disgust", "Fear", "Contempt", "Unknown", "Not a face")
HEADER = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"  # as published
VOTES = {
    "happy": {"Happy": 8, "Neutral": 2},
    "sad": {"Sad": 5, "Fear": 4, "Angry": 1},
    "tie": {"Sad": 5, "Neutral": 5},
    "contempt": {"Contempt": 7, "Neutral": 3},
    "no_face": {"Not a face": 10},
    "angry": {"Angry": 6, "Contempt": 3, "Unknown": 1},
}
LEFT_OUT = {"tie", "contempt", "no_face"}


def fields(name):
    return ",".join(str(VOTES[name].get(column, 0)) for column in COLUMNS)


def gray(seed):
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folders():
    """Files as FER+'s script lays them out: all six kinds of face in each part."""
    files = {}
    for number, part in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        rows = [f'{name}.png,"(0, 0, 48, 48)",{fields(name)}' for name in VOTES]
        files[f"ferplus/{part}/label.csv"] = "\n".join(rows).encode()
        for index, name in enumerate(VOTES):
            files[f"ferplus/{part}/{name}.png"] = png(gray(10 * number + index))
    return files


@pytest.fixture
def tables():
    """`fer2013.csv` and `fer2013new.csv`: all six kinds of face in each part."""
    faces, votes = ["emotion,pixels,Usage"], [f"Usage,Image name,{HEADER}"]
    for number, usage in enumerate(("Training", "PublicTest", "PrivateTest")):
        for index, name in enumerate(VOTES):
            faces.append(f"2,{' '.join(map(str, gray(10 * number + index).ravel()))},{usage}")
            votes.append(f"{usage},{'' if name == 'no_face' else f'fer{index:07d}.png'},{fields(name)}")
    return {"fer2013.csv": faces, "fer2013new.csv": votes}


def write_tables(write_source, tables, **options):
    return write_source({name: "\n".join(lines).encode() for name, lines in tables.items()}, **options)


def check(parts):
    assert list(parts) == ["train", "validation", "test"]
    for number, rows in enumerate(parts.values()):
        kept = [name for name in VOTES if name not in LEFT_OUT]
        assert [LABELS[label] for label in rows["label"]] == ["Happy", "Sad", "Angry"]
        for row, name in zip(rows, kept, strict=True):
            people = VOTES[name]
            assert row["vote_counts"] == [people.get(answer, 0) for answer in ANSWERS]
            np.testing.assert_array_equal(np.asarray(row["image"]), gray(10 * number + list(VOTES).index(name)))
        np.testing.assert_allclose(
            rows["votes"][:],
            [[0, 0, 0, 0.8, 0, 0, 0.2], [0, 0, 4 / 9, 0, 5 / 9, 0, 0], [1, 0, 0, 0, 0, 0, 0]],
            rtol=1e-6,
        )
        assert len(set(rows["group"])) == len(rows)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_folders_with_label_csv_keep_their_parts_and_votes(folders, write_source, tmp_path, kind, caplog):
    with caplog.at_level(logging.WARNING):
        parts = load_fer_dataset(write_source(folders, kind), cache_dir=tmp_path / "cache")
    check(parts)
    assert (
        "left out 9 images because of their votes: 3 with a majority for 'Contempt', 3 with a majority for "
        "'Not a face', 3 with no majority" in caplog.text
    )


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_published_csv_gives_the_same_beside_that_of_the_challenge(tables, write_source, tmp_path, kind, caplog):
    with caplog.at_level(logging.WARNING):
        check(load_fer_dataset(write_tables(write_source, tables, kind=kind), cache_dir=tmp_path / "cache"))
    assert "3 with a majority for 'Contempt', 3 with no face, 3 with no majority" in caplog.text


def test_the_csv_of_the_challenge_alone_still_gives_all_its_rows_with_its_labels(tables, write_source, tmp_path):
    del tables["fer2013new.csv"]
    tables["fer2013.csv"][1] = tables["fer2013.csv"][1].replace("2,", "3,", 1)
    parts = load_fer_dataset(write_tables(write_source, tables), cache_dir=tmp_path / "cache")
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 6, "validation": 6, "test": 6}
    assert parts["train"]["label"][:] == [3, 2, 2, 2, 2, 2]
    assert "votes" not in parts["train"].column_names


def test_a_box_smaller_than_the_image_is_cut_out(folders, write_source, tmp_path):
    listing = folders["ferplus/FER2013Train/label.csv"].decode().replace("(0, 0, 48, 48)", "(4, 8, 40, 48)", 1)
    folders["ferplus/FER2013Train/label.csv"] = listing.encode()
    first = load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")["train"][0]
    np.testing.assert_array_equal(np.asarray(first["image"]), gray(0)[8:48, 4:40])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("happy.png", "gone.png"), "gone.png is not there, though line 1 of"),
        (lambda text: text.replace("(0, 0, 48, 48)", "(0, 0, 0, 48)", 1), "has the box '\\(0, 0, 0, 48\\)'"),
        (lambda text: text.replace("(0, 0, 48, 48)", "(0, 0, 64, 48)", 1), "has the box .*, but 48 x 48 pixels"),
        (lambda text: text.replace('"(0, 0, 48, 48)",', "", 1), "has the box '2'"),
        (lambda text: text.replace("2,8,0", "2,8", 1), "has 9 counts of votes, not 10"),
        (lambda text: text.replace("2,8,0", "2,x,0", 1), "not 10 whole numbers from 0"),
        (lambda text: text.replace('happy.png,"(0, 0, 48, 48)",2,8,0,0,0,0,0,0,0,0', "happy.png"), "has the box ''"),
    ],
    ids=["missing image", "empty box", "box beyond", "no box", "nine counts", "no number", "name only"],
)
def test_a_wrong_row_of_label_csv_stops_or_is_skipped(folders, write_source, tmp_path, change, problem):
    name = "ferplus/FER2013Train/label.csv"
    folders[name] = change(folders[name].decode()).encode()
    source = write_source(folders)
    with pytest.raises(ValueError, match=problem):
        load_fer_dataset(source, cache_dir=tmp_path / "cache")
    parts = load_fer_dataset(source, cache_dir=tmp_path / "cache", on_error="skip")
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 2, "validation": 3, "test": 3}


def test_a_header_of_label_csv_is_passed_over(folders, write_source, tmp_path):
    plain = load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")
    for name in folders:
        if name.endswith("label.csv"):
            folders[name] = f"image,box,{HEADER}\n".encode() + folders[name]
    headed = load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")
    assert {part: rows["path"][:] for part, rows in headed.items()} == {p: rows["path"][:] for p, rows in plain.items()}


def test_one_folder_alone_is_read_by_its_own_name(folders, write_source, tmp_path):
    source = write_source({name: data for name, data in folders.items() if "FER2013Valid" in name})
    parts = load_fer_dataset(source / "ferplus" / "FER2013Valid", "train", cache_dir=tmp_path / "cache")
    assert [LABELS[label] for label in parts["train"]["label"]] == ["Happy", "Sad", "Angry"]


def test_names_of_images_with_folders_of_windows_are_found(folders, write_source, tmp_path):
    name = "ferplus/FER2013Train/label.csv"
    folders[name] = folders[name].replace(b"happy.png", b"C:\\faces\\FER2013Train\\happy.png")
    assert len(load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")["train"]) == 3


def test_a_damaged_image_is_skipped(folders, write_source, tmp_path):
    folders["ferplus/FER2013Train/sad.png"] = folders["ferplus/FER2013Train/sad.png"][:200]
    parts = load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache", on_error="skip")
    assert [len(rows) for rows in parts.values()] == [2, 3, 3]


def test_whole_images_are_decoded_once(folders, write_source, tmp_path, monkeypatch):
    decoded = []
    load = ImageFile.ImageFile.load

    def counted_load(image):
        if image.tile:  # else its pixels are there already
            decoded.append(image)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted_load)
    parts = load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")
    assert len(decoded) == sum(len(rows) for rows in parts.values()) == 9


@pytest.mark.parametrize("box", ["(0, 0, 48, 48)", "(4, 8, 40, 48)", "(0, 0, 64, 48)"])
@pytest.mark.parametrize(
    ("size", "problem"), [(200, "is truncated or damaged"), (3, "is not an image"), (0, "is empty")]
)
def test_a_damaged_image_is_called_so_whatever_its_box(folders, write_source, tmp_path, box, size, problem):
    listing = folders["ferplus/FER2013Train/label.csv"].decode().replace("(0, 0, 48, 48)", box, 1)
    folders["ferplus/FER2013Train/label.csv"] = listing.encode()
    folders["ferplus/FER2013Train/happy.png"] = folders["ferplus/FER2013Train/happy.png"][:size]
    with pytest.raises(ValueError, match=f"happy.png {problem}"):
        load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")


def test_faces_that_are_all_left_out_because_of_their_votes_are_said_to_be(folders, write_source, tmp_path):
    for name in [name for name in folders if name.endswith("label.csv")]:
        rows = [line for line in folders[name].decode().splitlines() if line.split(".")[0] in LEFT_OUT]
        folders[name] = "\n".join(rows).encode()
    with pytest.raises(
        ValueError,
        match=r"holds no usable image \(left out 9 images because of their votes: 3 with a majority for 'Contempt', "
        r"3 with a majority for 'Not a face', 3 with no majority\); give other data\.",
    ):
        load_fer_dataset(write_source(folders), cache_dir=tmp_path / "cache")


def test_the_tables_are_read_where_the_folders_with_label_csv_wait_for_their_images(
    folders, tables, write_source, tmp_path
):
    # So lies the published repository after fer2013.csv is put into it, before its script has run.
    listings = {name: data for name, data in folders.items() if name.endswith("label.csv")}
    source = write_source(listings | {name: "\n".join(lines).encode() for name, lines in tables.items()})
    check(load_fer_dataset(source, cache_dir=tmp_path / "cache"))


def test_without_usage_in_the_images_the_votes_give_the_part(tables, write_source, tmp_path):
    tables["fer2013.csv"] = [line.rsplit(",", 1)[0] for line in tables["fer2013.csv"]]
    check(load_fer_dataset(write_tables(write_source, tables), cache_dir=tmp_path / "cache"))


def test_votes_with_another_header_are_refused(tables, write_source, tmp_path):
    tables["fer2013new.csv"][0] = tables["fer2013new.csv"][0].replace("neutral,happiness", "happiness,neutral")
    with pytest.raises(ValueError, match=r"the first line of fer2013new\.csv is not 'Usage,Image name,neutral,happ"):
        load_fer_dataset(write_tables(write_source, tables), cache_dir=tmp_path / "cache")


def test_tables_that_do_not_belong_together_are_refused(tables, write_source, tmp_path):
    votes = tables["fer2013new.csv"]
    cases = {
        "has 17 rows and fer2013.csv 18": votes[:-1],
        "line 7 of fer2013new.csv is of 'PublicTest'": [*votes[:6], votes[7], votes[6], *votes[8:]],
    }
    for number, (problem, lines) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in {**tables, "fer2013new.csv": lines}.items():
            (folder / name).write_text("\n".join(content))
        with pytest.raises(ValueError, match=problem):
            load_fer_dataset(folder, cache_dir=tmp_path / "cache")


def test_a_wrong_row_of_the_votes_is_skipped_with_its_line(tables, write_source, tmp_path):
    tables["fer2013new.csv"][1] = tables["fer2013new.csv"][1].replace("8", "-8")
    source = write_tables(write_source, tables)
    with pytest.raises(ValueError, match=r"fer2013new\.csv#2 has the votes"):
        load_fer_dataset(source, cache_dir=tmp_path / "cache")
    parts = load_fer_dataset(source, cache_dir=tmp_path / "cache", on_error="skip")
    assert [len(rows) for rows in parts.values()] == [2, 3, 3]


def test_votes_survive_another_split(folders, write_source, tmp_path):
    source = write_source(folders)
    official = load_fer_dataset(source, cache_dir=tmp_path / "cache")
    expected = {row["path"]: row["vote_counts"] for rows in official.values() for row in rows}
    for split in ("random", "stratified", "group", "kfold", "group_kfold"):
        parts = load_fer_dataset(source, split, validation_fraction=0.5, n_folds=2, cache_dir=tmp_path / "cache")
        assert {row["path"]: row["vote_counts"] for rows in parts.values() for row in rows} == expected
