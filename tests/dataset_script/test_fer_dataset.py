import io
import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from PIL import Image as PILImage

from dataset_script import LABELS
from dataset_script.fer_dataset import SPLITS


def rows_by_path(dataset: DatasetDict) -> dict[str, tuple[bytes, str, str]]:
    """(bytes, class, group) of each row of all parts."""
    raw = [row for part in dataset.values() for row in part.cast_column("image", Image(decode=False))]
    return {row["path"]: (row["image"]["bytes"], LABELS[row["label"]], row["group"]) for row in raw}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
def test_class_folders_become_rows_with_the_original_bytes(load, write_source, class_files, kind):
    dataset = load(write_source(class_files, kind), "random", validation_fraction=0.25)
    assert rows_by_path(dataset) == {
        path: (data, path.split("/")[0], path.split("/")[1].split("_")[0]) for path, data in class_files.items()
    }
    features = dataset["train"].features
    assert features["image"] == Image()
    assert features["label"] == ClassLabel(names=list(LABELS))
    assert dataset["train"].num_rows == 9
    assert dataset["validation"].num_rows == 3


def test_rows_are_in_the_natural_order_of_their_paths(load, write_source, encoded):
    names = [f"{name}/f{i}.png" for name in ("Angry", "Happy") for i in (1, 2, 10, 11, 100)]
    files = {name: encoded(i) for i, name in enumerate(names)}
    dataset = load(write_source(dict(reversed(files.items())), "zip"), "kfold", n_folds=2)
    for part in dataset.values():
        assert part["path"][:] == [name for name in names if name in set(part["path"][:])]


def test_pixels_of_any_mode_are_kept(load, write_source):
    files = {}
    for index, mode in enumerate(["L", "RGB", "RGBA", "CMYK", "I;16"]):
        for name in ("Angry", "Sad"):
            buffer = io.BytesIO()
            PILImage.new(mode, (4 + index, 5)).save(buffer, "TIFF")
            files[f"{name}/{mode.replace(';', '')}.tif"] = buffer.getvalue()
    dataset = load(write_source(files), "random", validation_fraction=0.2)
    modes = {
        path: image.mode for part in dataset.values() for path, image in zip(part["path"], part["image"], strict=True)
    }
    assert {path.split("/")[1]: mode for path, mode in modes.items()} == {
        f"{mode.replace(';', '')}.tif": mode for mode in ["L", "RGB", "RGBA", "CMYK", "I;16"]
    }


@pytest.fixture
def parted_files(encoded) -> dict[str, bytes]:
    names = [f"train/{name}/{i}.png" for name in ("Angry", "Sad") for i in range(6)]
    names += [f"validation/{name}/{i}.png" for name in ("Angry", "Sad") for i in range(2)]
    return {name: encoded(i) for i, name in enumerate([*names, "test/1.png", "test/2.png"])}


def test_official_parts_are_the_default_where_the_data_has_them(load, write_source, parted_files):
    source = write_source(parted_files)
    for dataset in (load(source), load(source, "official")):
        assert {part: set(rows["path"][:]) for part, rows in dataset.items()} == {
            part: {name for name in parted_files if name.startswith(part)} for part in ("train", "validation", "test")
        }


def test_a_test_part_without_labels_has_label_minus_one(load, write_source, parted_files):
    assert load(write_source(parted_files))["test"]["label"][:] == [-1, -1]


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "official"])
def test_other_splits_pool_the_labelled_parts_and_leave_the_test_part(load, write_source, parted_files, split):
    dataset = load(write_source(parted_files), split, n_folds=2)
    paths = {part: set(rows["path"][:]) for part, rows in dataset.items()}
    assert paths["test"] == {"test/1.png", "test/2.png"}
    assert paths["train"] & paths["validation"] == set()
    assert paths["train"] | paths["validation"] == {name for name in parted_files if not name.startswith("test")}
    assert dataset["validation"].num_rows > 0


def test_the_split_train_holds_nothing_out_but_a_test_part(load, write_source, parted_files):
    dataset = load(write_source(parted_files), "train")
    assert set(dataset) == {"train", "test"}
    assert set(dataset["train"]["path"]) == {name for name in parted_files if not name.startswith("test")}


def test_official_on_data_without_parts_names_the_other_choices(load, write_source, class_files):
    with pytest.raises(ValueError, match=r"no official .*random, stratified, group, kfold, group_kfold"):
        load(write_source(class_files), "official")


def test_without_official_parts_the_default_is_stratified(load, write_source, class_files):
    source = write_source(class_files)
    default = load(source, validation_fraction=0.25)
    assert rows_by_path(default) == rows_by_path(load(source, "stratified", validation_fraction=0.25))
    assert sorted(default["validation"]["label"][:]) == [0, 3, 4]


def test_a_split_that_the_data_is_too_small_for_names_the_data(load, write_source, encoded):
    source = write_source({f"{name}/{i}.png": encoded(i) for i, name in enumerate(("happy", "sad", "fear"))})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(source))}: no class has two images"):
        load(source)


def test_a_group_split_keeps_films_apart(load, write_source, class_files):
    dataset = load(write_source(class_files), "group", validation_fraction=0.5)
    assert set(dataset["train"]["group"][:]) & set(dataset["validation"]["group"][:]) == set()


def test_one_seed_gives_one_split(load, write_source, class_files):
    source = write_source(class_files)
    first, again, other = (load(source, "random", validation_fraction=0.5, seed=seed) for seed in (1, 1, 2))
    assert first["validation"]["path"][:] == again["validation"]["path"][:]
    assert first["validation"]["path"][:] != other["validation"]["path"][:]


def test_the_group_pattern_is_adjustable(load, write_source, class_files):
    dataset = load(write_source(class_files), "random", group_pattern=r".*_(\d+)")
    assert {group for part in dataset.values() for group in part["group"]} == {"00000001", "00000002"}


def test_an_archive_that_holds_everything_twice_says_so_each_time(load, write_source, class_files, caplog):
    source = write_source({f"{top}/{name}": data for name, data in class_files.items() for top in ("a", "a/a")}, "zip")
    for _ in range(2):
        caplog.clear()
        load(source, "train")
        assert "took 12 images that are copies of others to the byte, the first: a/a/Angry/" in caplog.text


def test_broken_metadata_stop_nobody_who_reads_the_data_set(load, write_source, class_files):
    buffer = io.BytesIO()
    PILImage.effect_noise((8, 8), 50).save(buffer, "PNG", exif=b"Exif\0\0no TIFF at all")
    dataset = load(write_source({**class_files, "Happy/odd.png": buffer.getvalue()}), "train")
    pixels = {row["path"]: np.asarray(row["image"].convert("RGB")) for row in dataset["train"]}
    expected = PILImage.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    np.testing.assert_array_equal(pixels["Happy/odd.png"], np.asarray(expected))


def test_the_cache_is_used_and_sees_added_and_changed_files(load, write_source, class_files, encoded, monkeypatch):
    source = write_source(class_files)
    load(source, "random")
    with monkeypatch.context() as patch:
        patch.setattr("dataset_script.fer_dataset._read_source", None)  # a second reading would call it
        load(source, "kfold", n_folds=2)
    (source / "Sad/new.png").write_bytes(encoded(999))
    assert len(rows_by_path(load(source, "random"))) == len(class_files) + 1
    (source / "Sad/new.png").write_bytes(encoded(1000, size=9))
    assert rows_by_path(load(source, "random"))["Sad/new.png"][0] == encoded(1000, size=9)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_cache_sees_changed_files_that_a_table_only_names(load, tmp_path, encoded, suffix):
    names = [str(tmp_path / f"{label}_{i}.png") for label in ("happy", "sad") for i in range(3)]
    for seed, name in enumerate(names):
        Path(name).write_bytes(encoded(seed))
    rows = Dataset.from_dict({"image": names, "label": [Path(name).name.split("_")[0] for name in names]})
    source = tmp_path / "tables" / f"faces.{suffix}"
    source.parent.mkdir()
    (rows.to_json if suffix == "jsonl" else rows.cast_column("image", Image()).to_parquet)(source)
    assert {data for data, _, _ in rows_by_path(load(source, "train")).values()} == {encoded(i) for i in range(6)}
    Path(names[0]).write_bytes(encoded(7, size=9))
    assert encoded(7, size=9) in {data for data, _, _ in rows_by_path(load(source, "train")).values()}
    Path(names[0]).unlink()
    with pytest.raises(ValueError, match="train/000000 cannot be read"):
        load(source, "train")


def test_a_table_of_predictions_does_not_hide_class_folders_deep_below(load, write_source, encoded):
    names = [f"a/train/S{p}/{c}/{i}.png" for p in range(4) for c in ("Happy", "Sad") for i in range(2)]
    source = write_source({"results.jsonl": b"{}", **{name: encoded(i) for i, name in enumerate(names)}})
    dataset = load(source, "group", validation_fraction=0.5)
    assert {group for part in dataset.values() for group in part["group"]} == {"S0", "S1", "S2", "S3"}


def test_a_packed_table_is_to_be_unpacked(load, write_source, encoded):
    with pytest.raises(ValueError, match=r"source\.zip: metadata\.csv is a table, .*; unpack it"):
        load(write_source({"metadata.csv": b"file_name,label\nx.png,sad\n", "x.png": encoded(0)}, "zip"))


BAD_FILES = {
    "truncated": "truncated",
    "empty": r"empty \(0 bytes\)",
    "text": "is not an image",
    "bomb": "pixels",
}


@pytest.fixture(params=BAD_FILES)
def bad_file(request, encoded, png_of_size) -> tuple[bytes, str]:
    files = {
        "truncated": encoded(0, size=64)[:3000],
        "empty": b"",
        "text": b"no image",
        "bomb": png_of_size(30_000, 30_000),
    }
    return files[request.param], BAD_FILES[request.param]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_unreadable_image_stops_with_its_name_and_the_remedy(load, write_source, class_files, bad_file, kind):
    data, problem = bad_file
    source = write_source({**class_files, "Happy/broken.png": data}, kind)
    with pytest.raises(ValueError, match=rf"{source.name}: Happy/broken\.png .*{problem}.*on_error=skip"):
        load(source)


def test_skip_goes_on_and_reports_how_many_and_which_also_from_the_cache(
    load, write_source, class_files, bad_file, caplog
):
    source = write_source({**class_files, "Happy/broken.png": bad_file[0]})
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            dataset = load(source, "random", on_error="skip")
        assert rows_by_path(dataset).keys() == class_files.keys()
        assert "left out 1:\n- Happy/broken.png" in caplog.text
        assert "Happy/broken.png" in dataset["train"].info.description


def test_fewer_than_two_readable_classes_always_stop(load, write_source, encoded):
    source = write_source({"Angry/1.png": encoded(0), "Happy/1.png": b"", "Happy/2.png": b"text"})
    with pytest.raises(ValueError, match="fewer than two classes have readable images"):
        load(source, "random", on_error="skip")


def test_rows_of_which_none_can_be_read(load, write_source):
    with pytest.raises(ValueError, match="not one training image can be read"):
        load(write_source({"Angry/1.png": b"", "Happy/1.png": b""}), on_error="skip")


def test_a_part_of_which_no_row_can_be_read_is_not_there(load, write_source, parted_files):
    dataset = load(write_source(parted_files | {"test/1.png": b"", "test/2.png": b""}), on_error="skip")
    assert set(dataset) == {"train", "validation"}


def test_training_images_that_duplicate_a_held_out_one_are_dropped(load, write_source, class_files, caplog):
    twins = {f"train/{path}": data for path, data in class_files.items()}
    held_out = {f"validation/{path}": data for path, data in list(class_files.items())[:3]}
    source = write_source({**twins, **held_out})
    assert load(source)["train"].num_rows == 12
    with caplog.at_level(logging.WARNING):
        dataset = load(source, drop_duplicates=True)
    kept = set(dataset["train"]["path"][:])
    assert kept <= set(twins)
    assert not kept & {path.replace("validation", "train", 1) for path in held_out}
    assert dataset["validation"].num_rows == 3
    assert "dropped" in caplog.text


def test_dropping_duplicates_never_leaves_fewer_than_two_classes_for_training(load, write_source, class_files):
    source = write_source({f"{part}/{path}": data for part in ("train", "val") for path, data in class_files.items()})
    with pytest.raises(ValueError, match=r"fewer than two classes are left for training; .* keep the duplicates"):
        load(source, drop_duplicates=True)


@pytest.mark.parametrize("split", ["random", "stratified"])
def test_675_images_give_the_parts_of_the_paper(load, write_source, encoded, split):
    names = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    dataset = load(write_source({f"{names[i % 7]}/{i}.png": encoded(i) for i in range(675)}, "zip"), split)
    assert (dataset["train"].num_rows, dataset["validation"].num_rows) == (607, 68)


def test_rendered_faces(load):
    options = {"split": "kfold", "n_folds": 2, "rendered_images": 14, "rendered_size": 96}
    dataset = load("rendered", seed=3, **options)
    labels = np.concatenate([part["label"][:] for part in dataset.values()])
    assert sorted(labels) == sorted(list(range(7)) * 2)
    assert dataset["train"][0]["image"].size == (96, 96)
    assert dataset["train"][0]["image"].format == "PNG"
    assert rows_by_path(dataset) == rows_by_path(load("rendered", seed=3, **options))
    assert rows_by_path(dataset) != rows_by_path(load("rendered", seed=4, **options))


@pytest.mark.parametrize("write", ["to_parquet", "to_json", "save_to_disk"])
def test_a_local_data_set_of_the_datasets_library(load, tmp_path, encoded, write):
    features = Features({"image": Image(), "label": ClassLabel(names=["joy", "anger"])})
    images = [{"bytes": encoded(i), "path": None} for i in range(8)]
    rows = Dataset.from_dict({"image": images, "label": [0, 1] * 4}, features=features)
    if write == "to_json":  # names instead of the numbers, for which the file has no names; images as files
        for i in range(8):
            (tmp_path / f"{i}.png").write_bytes(encoded(i))
        rows = Dataset.from_dict(
            {"image": [str(tmp_path / f"{i}.png") for i in range(8)], "label": ["joy", "anger"] * 4}
        )
    (tmp_path / "saved").mkdir()
    getattr(rows, write)(tmp_path / "saved" / {"to_parquet": "train.parquet", "to_json": "train.jsonl"}.get(write, ""))
    dataset = load(tmp_path / "saved", "random", validation_fraction=0.25)
    found = {data: label for data, label, _ in rows_by_path(dataset).values()}
    assert found == {encoded(i): ["Happy", "Angry"][i % 2] for i in range(8)}


@pytest.mark.parametrize("data", ["nowhere/in/sight", "./faces", "faces.zip", "/no/such/folder"])
def test_a_missing_path_says_what_can_be_given(load, data):
    with pytest.raises(
        FileNotFoundError, match=r"does not exist\. Give the path of a folder, zip or tar of class folders"
    ):
        load(data)


@pytest.mark.parametrize("data", ["https://example.com/faces.zip", "hf://datasets/anna/faces"])
def test_a_url_is_named_as_one(load, data):
    with pytest.raises(FileNotFoundError, match=f"{data} is a URL, and those are not read; download it first"):
        load(data)


NAMES = ["[v2] faces", "a*b", "12:30", "a#b", "a%20b", "-x", "~nobody", "a::b", "hf:", "é中"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["folder", "zip", "parquet", "jsonl", "metadata"])
def test_an_existing_path_is_itself_whatever_its_name(load, tmp_path, monkeypatch, encoded, name, kind):
    files = {f"{name}_{i}.png": encoded(i) for i in range(2) for name in ("happy", "sad")}
    folder = tmp_path / name
    folder.mkdir()
    for path, data in files.items():
        inner = folder / ("" if kind in ("jsonl", "metadata") else path.split("_")[0]) / path
        if kind in ("folder", "jsonl", "metadata"):
            inner.parent.mkdir(exist_ok=True)
            inner.write_bytes(data)
    lines = {path: path.split("_")[0] for path in files}
    if kind == "zip":
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for path, data in files.items():
                archive.writestr(f"{lines[path]}/{path}", data)
    elif kind == "metadata":
        table = "".join(f"{path},{label}\n" for path, label in lines.items())
        (folder / "metadata.csv").write_text(f"file_name,label\n{table}")
    elif kind != "folder":
        images = [
            str(folder / path) if kind == "jsonl" else {"bytes": data, "path": None} for path, data in files.items()
        ]
        table = Dataset.from_dict({"image": images, "label": list(lines.values())})
        with (folder / f"train.{kind}").open("wb") as file:
            (table.to_json if kind == "jsonl" else table.cast_column("image", Image()).to_parquet)(file)
    (tmp_path / "axb").mkdir()
    (tmp_path / "axb/train.parquet").write_bytes(b"what the pattern a*b would find too")
    monkeypatch.chdir(tmp_path)
    if "::" in name and kind not in ("folder", "zip"):
        with pytest.raises(ValueError, match=r"`datasets`, which loads tables, takes the '::' for a URL's; rename"):
            load(name)
        return
    dataset = load(f"{name}/{name}.zip" if kind == "zip" else name, "train")
    assert sorted(data for data, _, _ in rows_by_path(dataset).values()) == sorted(files.values())


def test_a_hub_id_that_cannot_be_reached_says_which_local_path_would_do(load, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(
        FileNotFoundError, match=r"'someone/faces' is no local path, and the Hub cannot be reached .* Give the path"
    ):
        load("someone/faces")


def test_a_split_that_does_not_exist_names_those_that_do(load, write_source, class_files):
    with pytest.raises(ValueError, match="'holdout'; it is one of official, random, stratified"):
        load(write_source(class_files), "holdout")
