from __future__ import annotations

import pytest


@pytest.mark.parametrize("layout", ["{p}/{c}/{i}.png", "{c}/{p}/{i}.png", "VL{i}/Strong/{p}/{c}/img_{i}.png"])
def test_a_person_folder_is_the_group(load, write_source, encoded, layout, caplog):
    names = [
        layout.format(p=f"S{person}", c=name, i=i)
        for person in range(5)
        for name in ("happy", "sad")
        for i in (1, 2)
    ]  # fmt: skip
    dataset = load(write_source({name: encoded(i) for i, name in enumerate(names)}), "group", validation_fraction=0.4)
    for part in dataset.values():
        assert all(f"/{row['group']}/" in f"/{row['path']}" for row in part)
    assert {len(set(part["group"])) for part in dataset.values()} == {2, 3}
    assert caplog.text.count("\n") == 1
    assert "groups by folder: S0, S1, S2 ... (5)" in caplog.text


@pytest.mark.parametrize("layout", ["{p}/{c}/{i}.png", "{c}/{p}/{i}.png"])
def test_persons_called_like_parts_are_groups(load, write_source, encoded, layout, caplog):
    persons = ["Amy Adams", "Dev Patel", "Val Kilmer", "Tom Hanks"]
    names = [layout.format(p=p, c=c, i=i) for p in persons for c in ("happy", "sad") for i in range(2)]
    dataset = load(write_source({name: encoded(i) for i, name in enumerate(names)}), split="group")
    assert {group for part in dataset.values() for group in part["group"]} == set(persons)
    assert "groups by folder: Amy Adams, Dev Patel, Tom Hanks ... (4)" in caplog.text


def test_persons_in_names_with_the_class_are_on_one_side(load, write_source, encoded, caplog):
    names = [f"{c}/set_{c}_S{p}_{i}.png" for p in range(4) for c in ("happy", "sad") for i in range(2)]
    dataset = load(write_source({name: encoded(i) for i, name in enumerate(names)}), split="group")
    assert not set(dataset["train"]["group"]) & set(dataset["validation"]["group"])
    assert "groups by file name: set_S0, set_S1, set_S2 ... (4)" in caplog.text


@pytest.mark.parametrize("folders", ["original augmented", "data_v1 data_v2", "flickr google", "hd sd"])
@pytest.mark.parametrize("layout", ["{f}/{c}/{p}_{i}.png", "{c}/{f}/{p}_{i}.png"])
def test_a_folder_that_splits_the_persons_of_the_names_is_no_group(
    load, write_source, encoded, folders, layout, caplog
):
    persons = ["Al_Gore", "Bo_Derek", "Cy_Young", "Di_Caprio"]
    names = [
        layout.format(f=f, c=c, p=p, i=i)
        for f in folders.split() for c in ("happy", "sad") for p in persons for i in (1, 2)
    ]  # fmt: skip
    dataset = load(write_source({name: encoded(i) for i, name in enumerate(names)}), "group", validation_fraction=0.5)
    assert {group for part in dataset.values() for group in part["group"]} == set(persons)
    assert not set(dataset["train"]["group"]) & set(dataset["validation"]["group"])
    assert "groups by file name: Al_Gore, Bo_Derek, Cy_Young ... (4)" in caplog.text


def test_persons_in_folders_stay_where_the_names_are_those_of_a_few_cameras(load, write_source, encoded, caplog):
    names = [f"S{p}/{c}/{side}_{i}.png" for p in range(4) for c in ("happy", "sad") for side in "lr" for i in (1, 2)]
    load(write_source({name: encoded(i) for i, name in enumerate(names)}), "group", validation_fraction=0.5)
    assert "groups by folder: S0, S1, S2 ... (4)" in caplog.text


@pytest.mark.parametrize("layout", ["top/images/{c}/Film_{i}.png", "{c}/deeper/Film_{i}.png", "train/{c}/Film_{i}.png"])
def test_a_folder_that_tells_nobody_apart_leaves_the_group_to_the_name(load, write_source, encoded, layout):
    names = [layout.format(c=name, i=i) for name in ("happy", "sad") for i in range(4)]
    dataset = load(write_source({name: encoded(i) for i, name in enumerate(names)}), "random", validation_fraction=0.5)
    assert {row["group"] for part in dataset.values() for row in part} == {"Film"}


def test_a_pattern_is_for_file_names_and_comes_before_folders(load, write_source, encoded):
    names = [f"{name}/day{i}/{person}-{i}.png" for name in ("happy", "sad") for i in (1, 2) for person in "ab"]
    source = write_source({name: encoded(i) for i, name in enumerate(names)})
    dataset = load(source, "group", group_pattern="(.)-.*", validation_fraction=0.5)
    assert {frozenset(part["group"]) for part in dataset.values()} == {frozenset("a"), frozenset("b")}


@pytest.mark.parametrize("split", ["group", "group_kfold", "stratified"])
@pytest.mark.parametrize("name", ["{i}", "happy_{i}"])
def test_a_group_split_of_images_of_which_nothing_is_known_says_so(load, write_source, encoded, split, name, caplog):
    names = [f"{c}/{name.format(i=i)}.png" for c in ("happy", "sad") for i in range(4)]
    load(write_source({path: encoded(i) for i, path in enumerate(names)}), split, n_folds=2, validation_fraction=0.5)
    assert ("each image is a group of its own" in caplog.text) == (split != "stratified")
    assert caplog.text.count("\n") == (split != "stratified")
