from __future__ import annotations

import io
import itertools
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from involvit.prediction.file_kinds import is_shard
from involvit.prediction.images import find_files, read_image, read_stored_image
from involvit.prediction.shards import DamagedShardError, Shard, count_images, place_of, shared


@pytest.fixture
def files(tmp_path, write_images):
    return write_images(tmp_path / "files", *[f"{number}.png" for number in range(7)])


def write_tar(path, members, mode="w"):
    """Members are files, or names with their bytes."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            name, data = member if isinstance(member, tuple) else (member.name, member.read_bytes())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path, values, column="image", **options):
    with path.open("wb") as file:
        pq.write_table(pa.table({"id": list(range(len(values))), column: values}), file, **options)
    return path


def as_structs(files):
    return [{"bytes": file.read_bytes(), "path": None} for file in files]


def names(shard):
    return [image.name for image in shard.images()]


def assert_same_pixels(path, files):
    for image, file in zip(Shard(path).images(), files, strict=True):
        np.testing.assert_array_equal(read_stored_image(image), read_image(file))


def test_what_datasets_writes_gives_the_pixels_of_the_files(tmp_path, files):
    table = datasets.Dataset.from_dict(
        {"label": list(range(7)), "face": [{"bytes": None, "path": str(f)} for f in files]}
    )
    table = table.cast_column("face", datasets.Image())
    table = table.with_format("arrow").map(
        lambda rows: datasets.table.embed_table_storage(rows), batched=True, keep_in_memory=True
    )
    path = tmp_path / "part-0.parquet"
    table.to_parquet(path)
    for file in files:
        file.rename(file.with_suffix(".moved.png"))
    assert_same_pixels(path, [file.with_suffix(".moved.png") for file in files])
    assert names(Shard(path)) == [f"{path}#{row}" for row in range(7)]
    assert count_images(path) == 7


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_a_column_of_bytes_will_do(tmp_path, files, kind):
    data = pa.array([file.read_bytes() for file in files], pa.binary()).cast(kind)
    assert_same_pixels(write_parquet(tmp_path / "a.parquet", data), files)
    paths = pa.array([None] * len(files), pa.string())
    structs = pa.StructArray.from_arrays([data, paths], ["bytes", "path"])
    assert_same_pixels(write_parquet(tmp_path / "b.parquet", structs), files)


def test_a_column_of_bytes_of_one_length_will_do_where_there_is_no_other(tmp_path, files):
    data = [file.read_bytes().ljust(200, b"\0") for file in files]
    columns = {"image": pa.array(data, pa.binary(200)), "hash": pa.array([bytes(64)] * len(files), pa.binary(64))}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    assert_same_pixels(path, files)
    pq.write_table(pa.table({**columns, "png": data}), path)
    assert_same_pixels(path, files)
    pq.write_table(pa.table({"hash": columns["hash"]}), path)
    with pytest.raises(ValueError, match="has no column of images"):
        count_images(path)


def test_a_row_may_name_a_file(tmp_path, files):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = pa.array([{"bytes": None, "path": str(files[3])}, {"bytes": None, "path": "gone.png"}, None], kind)
    named, gone, nothing = Shard(write_parquet(tmp_path / "a.parquet", rows)).images()
    np.testing.assert_array_equal(read_stored_image(named), read_image(files[3]))
    with pytest.raises(ValueError, match=r"a\.parquet#1 names a file: gone\.png: no such file"):
        read_stored_image(gone)
    with pytest.raises(ValueError, match=r"a\.parquet#2 has no image of its own"):
        read_stored_image(nothing)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz"), ("a.tar", "w:xz")),
        *(("no suffix", "w"), ("other.gz", "w:gz"), ("other.bz2", "w:bz2"), ("other.xz", "w:xz")),
    ],
)
def test_a_tar_is_known_by_its_content_and_so_are_its_images(tmp_path, files, name, mode):
    others = [("0.cls", b"3"), ("0.json", b"{}"), ("__MACOSX/._0.png", b"x"), ("bare", files[6].read_bytes())]
    path = write_tar(tmp_path / name, [*files[:6], *others], mode)
    assert is_shard(path)
    assert names(Shard(path)) == [f"{path}#{member}" for member in (*(file.name for file in files[:6]), "bare")]
    assert_same_pixels(path, files)
    assert count_images(path) is None


def test_images_of_one_name_in_a_tar_are_told_apart(tmp_path, files):
    members = [(name, file.read_bytes()) for name, file in zip(["a.png", "b.png", "a.png"], files, strict=False)]
    path = write_tar(tmp_path / "a.tar", members)
    assert names(Shard(path)) == [f"{path}#a.png", f"{path}#b.png", f"{path}#a.png (2)"]
    assert_same_pixels(path, files[:3])


def test_names_in_a_tar_lead_nowhere_and_are_told_apart(tmp_path, files):
    members = {
        "./a/1.png": "./a/1.png",
        "../2.png": "2.png",
        "/2.png": "2.png (2)",
        "2.png (2)": "2.png (2) (2)",
        "b/../../3..png": "3..png",
        "//../C:\\..\\4.png": "4.png",
        "c:/d:e.png": "d:e.png",
        "\udcff.png": "\\xff.png",
        "f/\udcff.png": "f/\\xff.png",
        "f/\\xff.png": "f/\\xff.png (2)",
    }
    path = write_tar(tmp_path / "a.tar", [(name, files[0].read_bytes()) for name in [*members, "../.hidden/5.png"]])
    assert names(Shard(path)) == [f"{path}#{name}" for name in members.values()]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_that_were_joined_are_read_to_the_last(tmp_path, files, mode):
    parts = [write_tar(tmp_path / f"{n}", some, mode).read_bytes() for n, some in enumerate((files[:3], [], files[3:]))]
    path = tmp_path / "joined.tar"
    path.write_bytes(b"".join(parts))
    assert_same_pixels(path, files)
    if mode == "w":
        path.write_bytes(bytes(1024) + parts[0] + bytes(2**20) + parts[2])
        assert_same_pixels(path, files)
        path.write_bytes(parts[0] + damaged_header(parts[2]))
        with pytest.raises(DamagedShardError, match="is no header"):
            names(Shard(path))


def test_a_compressed_tar_with_a_wrong_checksum_is_damaged(tmp_path, files):
    path = write_tar(tmp_path / "a.tgz", files, "w:gz")
    path.write_bytes(path.read_bytes()[:-8] + b"abcd" + path.read_bytes()[-4:])
    found = []
    with pytest.raises(DamagedShardError, match=r"a\.tgz: cannot be read as a tar \(CRC check failed"):
        found.extend(image.name for image in Shard(path).images())
    assert len(found) == len(files)


def test_a_link_in_a_tar_is_told_by_name(tmp_path, files):
    path = write_tar(tmp_path / "a.tar", [("a/0", files[0].read_bytes())])
    links = [("a/s", tarfile.SYMTYPE, "0"), ("h", tarfile.LNKTYPE, "a/0"), ("h.png", tarfile.LNKTYPE, "a/0")]
    with tarfile.open(path, "a") as tar:
        for name, kind, target in [*links, ("folder", tarfile.SYMTYPE, "a"), ("text", tarfile.LNKTYPE, "notes")]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    image, *linked = Shard(path).images()
    np.testing.assert_array_equal(read_stored_image(image), read_image(files[0]))
    for image, (name, _, target) in zip(linked, links, strict=True):
        with pytest.raises(
            ValueError, match=rf"a\.tar#{name} is a link to {target}, and .*; make the tar anew without"
        ):
            read_stored_image(image)


@pytest.mark.parametrize("size", [2**40, 2**62])
def test_a_header_that_claims_too_much_is_told_in_one_line(tmp_path, files, size):
    path = write_tar(tmp_path / "a.tar", [files[0]])
    member = tarfile.TarInfo("b.png")
    member.size = size
    path.write_bytes(path.read_bytes()[: 512 * (1 + -(-files[0].stat().st_size // 512))] + member.tobuf() + bytes(2048))
    found = []
    with pytest.raises(DamagedShardError, match=r"a\.tar: cannot be read as a tar \("):
        found.extend(Shard(path).images())
    assert [image.data is None for image in found[:1]] == [False]
    for image in found[1:]:
        with pytest.raises(ValueError, match=r"b\.png has .* bytes, more than an image can have"):
            read_stored_image(image)


def test_what_cannot_be_read_in_a_shard_is_told_by_name(tmp_path, files):
    video = b"\0\0\0\x18ftypisom" + bytes(10_000)
    path = write_tar(tmp_path / "a.tar", [("a.png", b"text"), ("b.jpg", b""), ("c.mp4", video), files[0]])
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("d.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        tar.addfile(link)
    images = {image.name: image for image in Shard(path).images()}
    for name, message in {
        "a.png": r": cannot be read as an image \(unknown format\)",
        "b.jpg": r" is empty \(0 bytes\)",
        "c.mp4": " is a video; take it out of the shard",
        "d.png": " is a link to 0.png",
    }.items():
        with pytest.raises(ValueError, match=rf"a\.tar#{name}{message}"):
            read_stored_image(images[f"{path}#{name}"])


@pytest.mark.parametrize("suffix", [".parquet", ".tar", ".tgz"])
@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_each_image_is_read_by_one_process_and_none_that_is_done(tmp_path, files, suffix, num_processes):
    shards = []
    for number, some in enumerate((files, files[:1], files[:1])):
        path = tmp_path / f"{number}{suffix}"
        if suffix == ".parquet":
            write_parquet(path, as_structs(some), row_group_size=3)
        else:
            write_tar(path, some, "w:gz" if suffix == ".tgz" else "w")
        shards.append(path)
    everything = [name for path in shards for name in names(Shard(path))]
    done = {everything[0], everything[4], everything[7]}
    sources = [Shard(path, done) for path in shards]
    parts = [
        [name for _, shard in shared(sources, index, num_processes) for name in names(shard)]
        for index in range(num_processes)
    ]
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(set(everything) - done)
    of_first = [sum(name.startswith(str(shards[0])) for name in part) for part in parts]
    assert max(of_first) - min(of_first) <= 1


def test_a_large_group_of_rows_is_not_read_at_once(tmp_path):
    rng = np.random.default_rng(0)
    values = [rng.bytes(100_000) for _ in range(200)]
    path = write_parquet(tmp_path / "a.parquet", values, use_dictionary=False, compression="none")
    assert pq.ParquetFile(path).num_row_groups == 1
    del values
    before = pa.total_allocated_bytes()
    for image in Shard(path).images():
        assert len(image.data) == 100_000
        assert pa.total_allocated_bytes() - before < 10_000_000


def test_groups_of_rows_that_are_done_are_not_read(tmp_path, files, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", as_structs(files), row_group_size=2)
    groups = []
    iter_batches = pq.ParquetFile.iter_batches

    def watched(self, size, row_groups, columns):
        groups.extend(row_groups)
        return iter_batches(self, size, row_groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert names(Shard(path, {f"{path}#{row}" for row in (0, 1, 3, 4, 5)})) == [f"{path}#2", f"{path}#6"]
    assert groups == [1, 3]


def damaged_header(data):
    """A tar whose third header is damaged, where Python's tarfile stops without an error."""
    third = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"][2]
    return data[:third] + b"\xff" * 50 + data[third + 50 :]


@pytest.mark.parametrize(
    ("name", "damage", "read"),
    [
        ("a.tar", damaged_header, 2),
        ("a.tar", lambda data: data[:2100], 2),
        ("a.tar", lambda data: b"", 0),
        ("a.tgz", lambda data: data[:-200], None),
        ("a.parquet", lambda data: data[:-100], 0),
        ("a.parquet", lambda data: b"", 0),
        ("a.parquet", lambda data: b"hello", 0),
    ],
)
def test_a_damaged_shard_is_read_as_far_as_it_goes_and_told_in_one_line(tmp_path, files, name, damage, read):
    path = tmp_path / name
    if name == "a.parquet":
        write_parquet(path, as_structs(files))
    else:
        write_tar(path, files, "w:gz" if name == "a.tgz" else "w")
    path.write_bytes(damage(path.read_bytes()))
    found = []
    with pytest.raises(DamagedShardError, match=rf"^{path}.*replace or remove it$"):
        found.extend(image.name for image in Shard(path).images())
    assert count_images(path) is None
    assert path in find_files([tmp_path])


def test_without_one_column_of_images_it_says_what_to_do(tmp_path, files):
    none = tmp_path / "none.parquet"
    pq.write_table(pa.table({"id": [1], "text": ["a"]}), none)
    with pytest.raises(ValueError, match=r"none\.parquet: has no column of images; its columns are id, text"):
        count_images(none)
    several = tmp_path / "several.parquet"
    pq.write_table(pa.table({"face": as_structs(files), "mask": as_structs(files), "hash": [b"x"] * 7}), several)
    with pytest.raises(ValueError, match=r"several\.parquet: has several columns of images, face, mask; write a copy"):
        count_images(several)
    sound = tmp_path / "sound.parquet"
    features = datasets.Features({"voice": datasets.Audio(), "face": datasets.Image()})
    pq.write_table(pa.table({"voice": as_structs(files), "face": as_structs(files)}, features.arrow_schema), sound)
    assert_same_pixels(sound, files)
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array([b"x"])], ["image", "image"]), twice)
    with pytest.raises(ValueError, match=r"twice\.parquet: has several columns named image; write a copy"):
        count_images(twice)
    write_tar(tmp_path / "a.tar", [("a.txt", b"hello")])
    write_parquet(tmp_path / "a.parquet", pa.array([], pa.binary()))
    assert [count_images(tmp_path / name) for name in ("a.tar", "a.parquet")] == [0, 0]


def test_folders_are_searched_for_shards_with_images(tmp_path, files):
    folder = files[0].parent
    parquet = write_parquet(folder / "part.parquet", as_structs(files))
    tar = write_tar(folder / "shard.tar", files)
    pq.write_table(pa.table({"file": ["a.png"], "label": ["Happy"]}), folder / "results.parquet")
    write_tar(folder / "texts.tar", [("a.txt", b"hello")])
    write_parquet(folder / "none.parquet", pa.array([], pa.binary()))
    assert find_files([folder]) == [*files, parquet, tar]


def test_images_and_videos_are_no_shards_whatever_their_names(tmp_path, files):
    for name, data in (("a.tar", files[0].read_bytes()), ("b.parquet", b"\0\0\0\x18ftypisom"), ("c.png", b"PAR1")):
        (tmp_path / name).write_bytes(data)
        assert not is_shard(tmp_path / name)


def test_images_stand_in_the_order_of_files_and_of_rows_or_names():
    files = {"b#1.tar": 0, "a.parquet": 1, "c.png": 2}
    ordered = [
        "other.png",
        "b#1.tar",
        "b#1.tar#img_2#.png",
        "b#1.tar#img_10.png",
        "a.parquet#9",
        "a.parquet#10",
        "c.png",
    ]
    assert sorted(ordered, key=lambda name: place_of(name, files)) == ordered
    assert place_of("a.parquets#1", files) == (-1, "")


def test_paths_with_odd_signs_are_only_paths(tmp_path, files, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s3:::a.parquet", "-b#%s.parquet"):
        assert_same_pixels(write_parquet(Path(name), as_structs(files)), files)
