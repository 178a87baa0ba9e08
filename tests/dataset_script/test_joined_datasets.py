import logging
import shutil

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Value

from dataset_script import LABELS, load_joined_datasets
from dataset_script.fer_dataset import VOTE_FEATURES


@pytest.fixture
def sources(tmp_path, encoded):
    """Two folders of two persons and seven classes each; `two` repeats an image of `one` under another name."""
    for offset, name in enumerate(("one", "two")):
        for label_id, label in enumerate(LABELS):
            (tmp_path / name / label).mkdir(parents=True)
            for person in range(2):
                data = encoded(100 * offset + 10 * label_id + person, size=48)
                (tmp_path / name / label / f"Person{person}_{label_id:03d}.png").write_bytes(data)
    first = tmp_path / "one" / "Angry" / "Person0_000.png"
    (tmp_path / "two" / "Angry" / "Copy_001.png").write_bytes(first.read_bytes())
    return {
        name: {"data": str(tmp_path / name), "split": "group", "validation_fraction": 0.5} for name in ("one", "two")
    }


def test_each_source_is_split_in_its_own_way_and_marks_its_rows(sources):
    joined = load_joined_datasets(sources, seed=3)
    assert set(joined) == {"train", "validation"}
    for rows in joined.values():
        for name, group, path in zip(rows["source"], rows["group"], rows["path"], strict=True):
            assert group.startswith(f"{name}/")
            assert path.startswith(f"{name}/")
    assert not set(joined["train"]["group"]) & set(joined["validation"]["group"])
    assert sum(rows.num_rows for rows in joined.values()) == 29
    assert np.asarray(joined["train"][0]["image"]).shape == (48, 48, 3)


def test_repeat_repeats_training_rows_only(sources):
    once = load_joined_datasets(sources)
    sources["two"]["repeat"] = 3
    thrice = load_joined_datasets(sources)
    assert thrice["validation"]["path"][:] == once["validation"]["path"][:]
    counts = {path: thrice["train"]["path"][:].count(path) for path in once["train"]["path"]}
    assert set(counts.values()) == {1, 3}
    assert all(count == (3 if path.startswith("two/") else 1) for path, count in counts.items())


def test_a_duplicate_in_another_source_is_dropped_from_training(sources):
    copies = {"one/Angry/Person0_000.png", "two/Angry/Copy_001.png"}
    for seed in range(20):
        before = load_joined_datasets(sources, seed=seed)
        if copies & set(before["train"]["path"]) and copies & set(before["validation"]["path"]):
            break
    after = load_joined_datasets(sources, seed=seed, drop_duplicates=True)
    assert set(before["train"]["path"]) - set(after["train"]["path"]) == copies & set(before["train"]["path"])
    assert after["validation"]["path"][:] == before["validation"]["path"][:]


def test_arguments_given_for_all_hold_where_a_source_has_none(sources):
    for arguments in sources.values():
        del arguments["split"]
    with_groups = load_joined_datasets(sources, split="group")
    assert not set(with_groups["train"]["group"]) & set(with_groups["validation"]["group"])


def test_a_source_for_training_only_gives_all_but_the_persons_that_another_holds_out(sources):
    sources["two"]["split"] = "train"
    joined = load_joined_datasets(sources)
    assert set(joined["validation"]["source"]) == {"one"}
    held_out = {group.removeprefix("one/") for group in joined["validation"]["group"]}
    others = {"Person0", "Person1", "Copy"} - held_out
    of_two = [group for group in joined["train"]["group"] if group.startswith("two/")]
    assert held_out and set(of_two) == {f"two/{person}" for person in others}
    assert len(of_two) == sum({"Person0": 7, "Person1": 7, "Copy": 1}[person] for person in others)


@pytest.fixture
def parted_source(tmp_path, encoded):
    """A function that writes a folder with all three parts, seven faces each, of a person of its own."""

    def write(name, seed):
        for number, part in enumerate(("train", "val", "test")):
            for label_id, label in enumerate(LABELS):
                path = tmp_path / name / part / label / f"{name}{part}_{label_id:03d}.png"
                path.parent.mkdir(parents=True)
                path.write_bytes(encoded(seed + 10 * number + label_id, size=48))
        return {"data": str(tmp_path / name)}

    return write


def test_of_a_source_for_training_only_the_validation_part_is_trained_on_and_the_test_part_left_out_and_logged(
    sources, parted_source, caplog
):
    extra = {**parted_source("extra", 1000), "split": "train"}
    measured = parted_source("measured", 2000)
    for others in ({"one": sources["one"]}, {"measured": measured}):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            joined = load_joined_datasets({**others, "extra": extra})
        paths = {part: [path for path in rows["path"] if path.startswith("extra/")] for part, rows in joined.items()}
        assert {path.split("/")[1] for path in paths.pop("train")} == {"train", "val"}
        assert not any(paths.values())
        assert ("test" in joined) == ("measured" in others)
        lines = [line for record in caplog.records if "groups by file name" not in (line := record.getMessage())]
        assert lines == [
            "extra: left out its test part of 7 images, neither trained nor measured on: its split is 'train'."
        ]


def test_a_test_part_that_another_measured_source_lacks_is_left_out_and_logged(sources, parted_source, caplog):
    with caplog.at_level(logging.WARNING):
        joined = load_joined_datasets({"parted": parted_source("parted", 1000), "one": sources["one"]})
    assert set(joined) == {"train", "validation"}
    assert "parted: left out its test part of 7 images" in caplog.text
    assert "not every source that holds images out has one" in caplog.text


@pytest.mark.parametrize("data", ["faces.zip", "faces/extra"])
def test_a_missing_path_of_the_last_source_is_found_before_any_is_read(sources, monkeypatch, data):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("dataset_script.fer_dataset._read_source", None)  # to read a source would call it
    with pytest.raises(FileNotFoundError, match=rf"^the source two: '{data}' "):
        load_joined_datasets({**sources, "two": {"data": data}})


def test_each_source_is_looked_for_once(sources, monkeypatch):
    looked_for = []
    monkeypatch.setattr("dataset_script.fer_dataset.fingerprint", lambda path: looked_for.append(path.name) or "same")
    load_joined_datasets(sources)
    assert looked_for == ["one", "two"]


@pytest.mark.parametrize("change", ["damaged image", "no classes", "split"])
def test_what_is_wrong_with_the_data_of_a_source_begins_with_its_name_once(sources, tmp_path, change):
    if change == "damaged image":
        (tmp_path / "two" / "Sad" / "broken.png").write_bytes(b"no image")
    elif change == "no classes":
        shutil.rmtree(tmp_path / "two")
        (tmp_path / "two").mkdir()
    else:
        sources["two"]["split"] = "holdout"
    with pytest.raises(ValueError, match=r"^the source two: ") as error:
        load_joined_datasets(sources)
    assert str(error.value).count("the source two") == 1
    assert "\n" not in str(error.value)


def test_votes_stay_and_a_label_stands_for_all_votes_where_a_source_has_none(sources, tmp_path, encoded):
    people = {"Angry": [6, 0, 0, 0, 0, 0, 2, 1, 1, 0], "Happy": [0, 0, 0, 6, 0, 0, 2, 2, 0, 0]}
    shares = {label: [count / 8 for count in counts[:7]] for label, counts in people.items()}
    rows = {
        "image": [{"bytes": encoded(1000 + index, size=48), "path": None} for index in range(8)],
        "label": ["Angry", "Happy"] * 4,
        "votes": list(shares.values()) * 4,
        "vote_counts": list(people.values()) * 4,
    }
    features = Features({"image": Image(), "label": Value("string"), **VOTE_FEATURES})
    (tmp_path / "voted").mkdir()
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "voted" / "train.parquet")
    joined = load_joined_datasets(
        {"voted": {"data": str(tmp_path / "voted"), "split": "random"}, "one": sources["one"]}
    )
    for rows in joined.values():
        for row in rows.select_columns(["source", "label", "votes", "vote_counts"]):
            if row["source"] == "voted":
                assert row["votes"] == shares[LABELS[row["label"]]]
                assert row["vote_counts"] == people[LABELS[row["label"]]]
            else:
                assert row["votes"] == [float(index == row["label"]) for index in range(7)]
                assert row["vote_counts"] is None
        assert set(rows["source"]) == {"voted", "one"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "names no source"),
        ({"one": {"split": "group"}}, "the source one needs its data"),
        ({"data": "x", "split": "train"}, "arguments of a source without its name; .* {faces: {data: faces.zip"),
        ({"one": "folder"}, "the source one needs its data"),
        ({"one": {"data": "x", "splits": "group"}}, "the source one has no argument splits; it takes data, split"),
        ({"one": {"data": "x", "repeat": 0}}, "the source one has repeat 0"),
        ({"one": {"data": "x", "drop_duplicates": True}}, "no argument drop_duplicates"),
        (
            {"one": {"data": "rendered", "rendered_images": 14, "split": "train"}},
            "must hold out images .* give it another split",
        ),
    ],
    ids=str,
)
def test_a_mistake_names_the_source(changed, message):
    with pytest.raises(ValueError, match=message):
        load_joined_datasets(changed)
