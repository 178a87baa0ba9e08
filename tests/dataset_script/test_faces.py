from __future__ import annotations

import pytest

from dataset_script.faces import compile_group_pattern, group_of, part_in_class, part_of


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("Angry/Airheads_000519240_00000005.png", "Airheads"),
        ("Angry/Al_Gore_0002.jpg", "Al_Gore"),
        ("Fear/21_Jump_Street_000123_04.png", "21_Jump_Street"),
        ("S005/S005_001_00000011.png", "S005"),
        ("Happy/Joy_Bryant_0001.jpg", "Joy_Bryant"),
        ("Happy/Joy_Bryant_joy_0002.jpg", "Joy_Bryant"),
        ("Happy/Joy_S005_0002.jpg", "S005"),
    ],
)
def test_the_default_group_is_the_name_before_its_trailing_numbers(path, group):
    assert group_of(path, compile_group_pattern(None)) == group


@pytest.mark.parametrize("name", ["{p}_{c}_0", "{p}-{c}-1", "{c}_{p}_03_4", "2_{c}_{p}_5", "{p}_{c}_left_6"])
@pytest.mark.parametrize("person", ["subject1", "Al_Gore", "S005"])
def test_a_class_in_the_name_does_not_split_a_person(name, person):
    names = [name.format(p=person, c=c) for c in ("happy", "Sad", "ANGER", "suprise")]
    groups = {group_of(f"x/{name}.png", compile_group_pattern(None)) for name in names}
    assert len(groups) == 1
    assert person in groups.pop()


def test_a_pattern_of_the_users_sees_the_class_in_the_name():
    pattern = compile_group_pattern(r"(.+)_(?:happy|sad)_\d+")
    assert group_of("Happy/anna_happy_1.png", pattern) == "anna"


@pytest.mark.parametrize(
    "path",
    [
        "train/Angry/Training_10118481.jpg",
        "validation/Angry/PublicTest_99743122.jpg",
        "test/Angry/PrivateTest_88305.jpg",
        "Happy/0017.png",
        "Happy/image_0017.png",
        "Happy/smile.png",
        "Happy/happy_0017.png",
        "Happy/3_happy_0017.png",
        "Happy/happy_image_0017.png",
        "Happy/image_happy_0017.png",
    ],
)
def test_a_name_that_tells_no_person_is_a_group_of_its_own(path):
    assert group_of(path, compile_group_pattern(None)) == path


def test_the_pattern_is_adjustable():
    pattern = compile_group_pattern(r"\d+_([a-z]+).*")
    assert group_of("Happy/12_anna_x.png", pattern) == "anna"
    assert group_of("Happy/anna_12.png", pattern) == "Happy/anna_12.png"


@pytest.mark.parametrize("pattern", ["(", r".+_\d+", r"(a)(b)"])
def test_a_pattern_that_is_broken_or_has_not_one_group_is_refused(pattern):
    with pytest.raises(ValueError, match="group_pattern"):
        compile_group_pattern(pattern)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", "train"),
        ("Train_Aligned_Faces", "train"),
        ("Training", "train"),
        ("Val_Aligned_Faces_new", "validation"),
        ("validation", "validation"),
        ("PublicTest", "validation"),
        ("Test_Aligned_Faces.zip", "test"),
        ("PrivateTest", "test"),
        ("TrainSet", "train"),
        ("valset", "validation"),
        ("testimages", "test"),
        ("eval", "test"),
        ("Evaluation_faces", "test"),
        ("holdout", "test"),
        ("hold-out", "test"),
        ("Held Out", "test"),
        ("Testimonials", None),
        ("Valérie", None),
        ("Evaluations_of_others", None),
        ("Angry", None),
    ],
)
def test_part_names(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("Test Set", "test"),
        ("val_images", "validation"),
        ("TestSet", "test"),
        ("Val_Kilmer", None),
        ("dev patel", None),
        ("Dev Ünal", None),
        ("S005", None),
    ],
)
def test_a_person_in_a_class_is_no_part(name, part):
    assert part_in_class(name) == part
