"""Builds Parquet data sets, draws faces and finds duplicates.

python -m dataset_script build --data wildfaces.zip --split group --out DIR
python -m dataset_script render --images 700 --size 112 --seed 0 --out DIR
python -m dataset_script sheet --out rendered_faces.jpg
python -m dataset_script duplicates --data wildfaces.zip
"""

from __future__ import annotations

import argparse
import inspect
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from involvit.console import DONE, Parser, path, run_command
from involvit.files import expand_user, whole_file, whole_folder
from involvit.names import shown

from .data_arguments import add_data_arguments
from .duplicates import find_duplicates
from .faces import encode_png
from .fer_dataset import RENDERED, load_fer_dataset
from .labels import LABELS
from .parquet_repo import CONTENT, write_parquet_repo
from .rendered.rendered_faces import contact_sheet, rendered_faces


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    kind = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m dataset_script", description=__doc__, formatter_class=kind)
    commands = parser.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="write Parquet shards and a data set card")
    duplicates = commands.add_parser("duplicates", help="print duplicate images in different parts")
    default = {name: parameter.default for name, parameter in inspect.signature(load_fer_dataset).parameters.items()}
    images = f"how many faces --data {RENDERED} draws"
    for command in (build, duplicates):
        add_data_arguments(command, default)
        for name, text in (("images", images), ("size", "their height and width in pixels")):
            value = default[f"rendered_{name}"]
            command.add_argument(f"--rendered_{name}", type=int, default=value, help=f"{text} (default: {value})")
        command.add_argument("--cache_dir", help="another place for the cache of images that were read")
    dropped = "drop training images that duplicate one of another part"
    build.add_argument("--drop_duplicates", action="store_true", help=dropped)

    render = commands.add_parser("render", help="write rendered faces as class folders of PNG files")
    render.add_argument("--images", type=int, default=700, help="how many (default: 700)")

    sheet = commands.add_parser("sheet", help="write one picture of rendered faces, one row per expression")
    sheet.add_argument("--columns", type=int, default=10, help="how many persons (default: 10)")

    for command in (render, sheet):
        command.add_argument("--size", type=int, default=112, help="height and width of a face (default: 112 pixels)")
        command.add_argument("--seed", type=int, default=0, help="(default: 0)")

    for command, what in ((build, "folder"), (render, "folder"), (sheet, "picture file")):
        command.add_argument("--out", type=path, required=True, help=f"{what} to write")
        command.add_argument("--overwrite", action="store_true", help=f"replace the {what} if this command wrote it")

    return parser.parse_args(arguments)


def build(out: Path, overwrite: bool, **load_arguments: Any) -> None:
    """Writes the Parquet shards and card of what `load_fer_dataset` returns for the same arguments."""
    with whole_folder(out, overwrite, CONTENT) as folder:
        dataset = load_fer_dataset(**load_arguments)
        used = inspect.signature(load_fer_dataset).bind(**load_arguments)
        used.apply_defaults()
        source = Path(used.arguments["data"])
        if expand_user(source).exists():
            used.arguments["data"] = source.name  # the card is published: it tells nothing of this machine
        left_out = {"cache_dir"} if str(source) == RENDERED else {"cache_dir", "rendered_images", "rendered_size"}
        flags = [
            f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
            for name, value in used.arguments.items()
            if name not in left_out and value is not None and value is not False
        ]
        write_parquet_repo(dataset, folder, out.absolute().name, " ".join(["python -m dataset_script build", *flags]))
    print(f"{out}: " + ", ".join(f"{rows.num_rows} {split}" for split, rows in dataset.items()))


def render(out: Path, overwrite: bool, images: int, size: int, seed: int) -> None:
    """Writes rendered faces as `CLASS/NAME.png`."""
    with whole_folder(out, overwrite, LABELS) as folder:
        for face in tqdm(rendered_faces(images, size, seed), total=images, desc="Rendering", unit=" faces"):
            path = folder / face.path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_png(face.image))
    print(f"{out}: {images} faces")


def sheet(out: Path, overwrite: bool, columns: int, size: int, seed: int) -> None:
    """Writes a contact sheet of rendered faces, in the format that the file's suffix names."""
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; name another file or pass --overwrite.")
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"{out}: name a file that ends in the name of an image format, such as .jpg or .png")
    with whole_file(out) as beside:
        contact_sheet(columns, size, seed).save(beside, quality=90)
    print(f"{out}: {len(LABELS)} expressions of {columns} persons")


def report_duplicates(**load_arguments: Any) -> None:
    """Prints each pair of images in different parts that are exact or near duplicates."""
    for pair in (pairs := find_duplicates(load_fer_dataset(**load_arguments))):
        kind = "exact" if pair.exact else f"near ({pair.distance} bits)"
        print(kind, f"{pair.split_a}: {shown(pair.path_a)}", f"{pair.split_b}: {shown(pair.path_b)}", sep="\t")
    train, held_out = {pair.index_a for pair in pairs}, {(pair.split_b, pair.index_b) for pair in pairs}
    print(
        f"{len(pairs)} duplicate pairs across the split, {sum(pair.exact for pair in pairs)} of them exact: "
        f"{len(train)} training images repeat {len(held_out)} held-out ones"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of the process.

    Returns:
        The exit status, see `run_command`.
    """
    logging.basicConfig(format="%(message)s")
    return run_command(lambda: _run(arguments), "interrupted; nothing was written")


def _run(arguments: Sequence[str] | None) -> int:
    options = vars(_parse(arguments))
    commands = {"build": build, "render": render, "sheet": sheet, "duplicates": report_duplicates}
    commands[options.pop("command")](**options)
    return DONE
