from __future__ import annotations

import pytest

from dataset_script.bad_input import BadInput
from dataset_script.class_folders import read_class_folders
from dataset_script.faces import PARTS
from dataset_script.file_tree import open_file_tree


@pytest.fixture
def read(write_source):
    """Returns a function that gives (part, path, label) of each face, and what was left out."""

    def read_source(names, on_error="stop", kind="folder"):
        source = write_source(dict.fromkeys(names, b"image"), kind)
        bad = BadInput("source", on_error)
        faces = sorted(read_class_folders(open_file_tree(source, bad), bad), key=lambda face: PARTS.index(face.part))
        return [(face.part, face.path, face.label) for face in faces], bad.left_out

    return read_source


def test_sfew_1(read):
    faces, _ = read(["Happy/Film_01_02.png", "Angry/Film_01_02.png", "surprised/deeper/Film_1_1.png"])
    assert faces == [
        ("train", "Angry/Film_01_02.png", 0),
        ("train", "Happy/Film_01_02.png", 3),
        ("train", "surprised/deeper/Film_1_1.png", 5),
    ]


@pytest.mark.parametrize("top", ["", "SFEW_2.0/", "a/b/"])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("Train_Aligned_Faces", "Val_Aligned_Faces_new", "Test_Aligned_Faces"),
        ("Train.zip/Train", "Val.zip/Val", "Test.zip/Test"),
        ("Train/Train_Aligned_Faces", "Val/Val_Aligned_Faces", "Test/Test_Aligned_Faces"),
    ],
)
def test_sfew_2_with_an_unlabelled_test_part(read, top, train, val, test):
    names = [f"{top}{train}/Angry/1.png", f"{top}{train}/Fear/2.png", f"{top}{val}/Angry/3.png", f"{top}{test}/4.png"]
    faces, _ = read(names)
    labels = [("train", 0), ("train", 2), ("validation", 0), ("test", -1)]
    assert faces == [(part, name, label) for name, (part, label) in zip(names, labels, strict=True)]


def test_sfew_2_aligned_faces_are_taken_before_whole_frames(read):
    faces, _ = read(
        [
            *("Train/Angry/1.png", "Train/Fear/2.png", "Val/Fear/3.png"),
            *("Train_Aligned_Faces/Angry/1.png", "Train_Aligned_Faces/Fear/2.png"),
        ]
    )
    assert [path for _, path, _ in faces] == [
        "Train_Aligned_Faces/Angry/1.png",
        "Train_Aligned_Faces/Fear/2.png",
        "Val/Fear/3.png",
    ]


def test_fer2013_as_folders(read):
    faces, _ = read([f"{part}/{name}/x.jpg" for part in ("train", "validation", "test") for name in ("happy", "sad")])
    assert [(part, label) for part, _, label in faces] == [
        *(("train", 3), ("train", 4)),
        *(("validation", 3), ("validation", 4)),
        *(("test", 3), ("test", 4)),
    ]


def test_files_beside_the_class_folders_are_passed_over(read):
    faces, left_out = read(["README.txt", "lists/train.csv", "data/Angry/1.png", "data/Sad/2.png"])
    assert [path for _, path, _ in faces] == ["data/Angry/1.png", "data/Sad/2.png"]
    assert left_out == []


@pytest.mark.parametrize("prefix", ["", "top/", "train/"])
def test_an_unknown_class_folder_stops_or_is_skipped(read, prefix):
    names = [f"{prefix}{name}/{i}.png" for name in ("Angry", "Sad", "Contempt") for i in range(3)]
    with pytest.raises(
        ValueError, match=rf"{prefix}Contempt \(3 images\) is not a class folder; the classes are Angry"
    ):
        read(names)
    faces, left_out = read(names, "skip")
    assert len(faces) == 6
    assert len(left_out) == 1
    assert f"{prefix}Contempt (3 images)" in left_out[0]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_an_empty_class_folder_stops_or_is_skipped(read, kind):
    names = ["Angry/1.png", "Sad/2.png", "Fear/"]
    with pytest.raises(ValueError, match="Fear is a class folder without images"):
        read(names, kind=kind)
    faces, left_out = read(names, "skip", kind)
    assert len(faces) == 2
    assert left_out == ["Fear is a class folder without images"]


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize("names", [["Angry/1.png", "Angry/2.png"], ["1.png"], ["cats/1.png", "dogs/2.png"], []])
def test_fewer_than_two_classes_always_stop(read, names, on_error):
    with pytest.raises(ValueError, match="at least two class folders with images are needed"):
        read([*names, "note.txt"], on_error)


@pytest.mark.parametrize(("other", "named"), [("Contempt/2.png", "Contempt"), ("Happy/2.png", "nothing")])
def test_folders_beside_the_only_class_are_named(read, other, named):
    with pytest.raises(ValueError, match=rf"found Happy, and besides {named}\."):
        read(["happiness/1.png", other])


def test_an_image_in_no_class_folder_stops_or_is_skipped(read):
    names = ["Angry/1.png", "Sad/2.png", "stray.png"]
    with pytest.raises(ValueError, match=r"stray\.png lies in no class folder"):
        read(names)
    assert read(names, "skip")[1] == ["stray.png lies in no class folder"]


def test_an_unlabelled_image_in_a_labelled_test_part_is_an_error(read):
    with pytest.raises(ValueError, match=r"test/4\.png lies in no class folder"):
        read(["train/Angry/1.png", "train/Sad/2.png", "test/Sad/3.png", "test/4.png"])


@pytest.mark.parametrize("layout", ["{c}/{p}/1.png", "top/{c}/{p}_set/S005/1.png", "{c}/S005/{p}/1.png"])
def test_parts_count_after_the_class_too(read, layout):
    names = [layout.format(c=name, p=part) for part in ("train", "val", "test") for name in ("happy", "sad")]
    faces, _ = read(names)
    assert [part for part, _, _ in faces] == [part for part in PARTS for _ in range(2)]


def test_a_part_before_the_class_comes_before_one_after_it(read):
    names = [
        f"{part}/{name}/{inner}/1.png" for part in ("train", "test") for name in ("happy", "sad") for inner in "ab"
    ]
    faces, _ = read([name.replace("/a/", "/train/") for name in names])
    assert all(path.startswith(part) for part, path, _ in faces)


@pytest.mark.parametrize("layout", ["{p}/{c}/1.png", "top/{p}/{c}/1.png", "{c}/{p}/1.png", "{p}/raw/{c}/1.png"])
@pytest.mark.parametrize(
    "persons",
    [
        ["Amy Adams", "Brad Pitt", "Tom Hanks", "Dev Patel", "Val Kilmer"],
        ["amy_adams", "dev_patel"],
        ["Amy", "Brad", "Dev", "Val"],
        ["S001", "Valérie"],
    ],
)
def test_persons_are_no_parts(read, layout, persons):
    faces, _ = read([layout.format(p=person, c=name) for person in persons for name in ("happy", "sad")])
    assert [part for part, _, _ in faces] == ["train"] * (2 * len(persons))


def test_persons_below_the_parts_are_of_their_part(read):
    names = [
        f"{part}/{person}/{name}/1.png"
        for part, persons in (("train", ("Amy Adams", "Dev Patel")), ("test", ("Val Kilmer", "Al Gore")))
        for person in persons
        for name in ("happy", "sad")
    ]
    assert all(path.startswith(part) for part, path, _ in read(names)[0])


@pytest.mark.parametrize(
    "val", ["val", "dev", "Val", "val_fer2013", "dev-other", "validation images", "val2017", "ValSet"]
)
@pytest.mark.parametrize("others", [["train"], ["train_fer2013", "extra"], ["Training", "Test", "extra"]])
def test_what_lies_beside_the_training_part_is_the_validation_part(read, val, others):
    faces, _ = read([f"{folder}/{name}/1.png" for folder in (val, *others) for name in ("happy", "sad")])
    assert [path.split("/")[0] for part, path, _ in faces if part == "validation"] == [val, val]


@pytest.mark.parametrize("val", ["val", "dev", "Val", "validation images"])
def test_a_validation_part_beside_one_folder_of_another_name_is_one(read, val):
    faces, _ = read([f"{folder}/{name}/1.png" for folder in (val, "faces") for name in ("happy", "sad")])
    assert [part for part, _, _ in faces] == ["train", "train", "validation", "validation"]


@pytest.mark.parametrize("other", ["unaligned", "non_aligned", "Not aligned", "misaligned", "raw"])
@pytest.mark.parametrize("layout", ["{a}/{c}/1.png", "{c}/{a}/1.png"])
def test_what_is_not_aligned_is_not_taken_for_aligned(read, other, layout):
    names = [layout.format(a=folder, c=name) for folder in ("aligned", other) for name in ("happy", "sad")]
    faces, _ = read(names)
    assert [path for _, path, _ in faces] == sorted(names[:2])
