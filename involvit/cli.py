"""Facial expressions in images and videos: predict, train, evaluate, publish.

involvit train --config configs/demo.yaml --data faces.zip --out outputs/faces
involvit predict photos/ video.mp4 --faces --out results.csv
involvit predict "faces/*.png" --model model.onnx
involvit predict faces/*.parquet shards/*.tar --out results.parquet
involvit export outputs/faces --format onnx --quantize int8
involvit export outputs/faces --format web --out site
involvit push outputs/faces NAME --space
involvit evaluate --model outputs/faces --model NAME=other/folder --data faces.zip --split group
involvit robustness --model outputs/faces --data faces.zip
involvit study --config configs/demo.yaml --data faces.zip
involvit audit --data faces.zip
involvit app --model outputs/faces
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .console import DONE, Parser, path, positive, run_command, show_warnings_briefly
from .evaluation import command_line as evaluation
from .memory import keep_freed_memory

# The extra of the package that brings what a command needs beyond predicting.
EXTRAS = {
    "train": "train",
    "export": "onnx",
    "push": "onnx",  # with the Space that is a page
    "app": "app",
    **dict.fromkeys(evaluation.COMMANDS, "evaluate"),
}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="involvit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    commands.add_parser("train", add_help=False, help="train a model by a recipe, and report on it")
    predict = commands.add_parser(
        "predict",
        help="print or write a row for each face",
        description="Predicts the expressions of faces in images, videos and shards of images: Parquet files with a "
        "column of images, and tars as WebDataset reads them. Run again with the same --out, it continues from where "
        "it stopped and tries again what could not be read. Exit status: 0; 1 if files could not be read; 2 after a "
        "mistake; 130 if interrupted.",
        epilog="example: involvit predict photos/ holiday.mp4 --faces --out faces.csv",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, video, .parquet, .tar, folder of them (searched recursively) or glob",
    )
    predict.add_argument("--model", help="folder, Hub id or .onnx file (default: the model of the package)")
    predict.add_argument(
        "--faces", action="store_true", help="find and align faces (default: the whole image is the face)"
    )
    predict.add_argument("--face_detector", type=path, help="YuNet's .onnx file (default: from the Hub or its cache)")
    predict.add_argument(
        "--out", type=path, help="table to write: .csv, .jsonl or .parquet (default: print one line per face)"
    )
    predict.add_argument("--batch_size", type=positive, default=argparse.SUPPRESS, help="faces at once (default: 32)")

    export = commands.add_parser(
        "export",
        help="write a model as one file that runs without torch, or as a page that runs it in the browser",
        description="Writes a model as one ONNX file, which onnxruntime runs without torch; or as a folder for "
        "any web server: a page that runs the model in the visitor's browser and sends nothing.",
        epilog="example: involvit export outputs/faces --quantize int8",
    )
    export.add_argument("model", metavar="DIR", help="folder or Hub id of the model")
    export.add_argument("--format", choices=["onnx", "web"], default="onnx", help="(default: onnx)")
    export.add_argument("--quantize", choices=["int8"], help="smaller and faster, a little less accurate")
    export.add_argument("--calibration_data", type=path, help="labelled faces to choose int8's ranges by")
    export.add_argument(
        "--out",
        type=path,
        help="file to write (default: DIR/model.onnx or DIR/model_int8.onnx), or folder for the page",
    )
    export.add_argument(
        "--face_detector", type=path, help="for the page: YuNet's .onnx file (default: from the Hub or its cache)"
    )
    export.add_argument(
        "--runtime",
        type=path,
        metavar="FOLDER",
        help="for the page: dist/ of the npm package onnxruntime-web, served with it (default: loaded from a CDN)",
    )

    push = commands.add_parser(
        "push",
        help="upload a model's folder to the Hub",
        description="Uploads a model with its code, card and report to the Hugging Face Hub; with --space, also the "
        "page on which others try it.",
        epilog="example: involvit push outputs/faces me/faces --private",
    )
    push.add_argument("directory", metavar="DIR", type=path, help="folder that `involvit train` wrote")
    push.add_argument("repo_id", metavar="NAME", help="user/name on the Hub")
    push.add_argument("--private", action="store_true", help="only you can see it, if the repository is new")
    push.add_argument(
        "--space",
        nargs="?",
        type=_space_kind,
        const="gradio",
        help="after DIR and NAME: also make the Space NAME, which shows the model, and is private if it is: in the app "
        "(gradio, the default), or in a page that runs it in the visitor's browser (web)",
    )

    app = commands.add_parser(
        "app",
        help="open the app in the browser",
        description="Opens the app in the browser, and answers until it is interrupted. Gradio's own environment "
        "variables set address and port: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.",
        epilog="example: involvit app --model outputs/faces checkpoints/involvit-tiny",
    )
    app.add_argument(
        "--model",
        nargs="+",
        action="extend",
        dest="models",
        metavar="MODEL",
        help="folder, Hub id or .onnx file, or NAME=MODEL; more are for comparison (default: the model of the package)",
    )
    app.add_argument("--face_detector", type=path, help="YuNet's .onnx file (default: from the Hub or its cache)")

    evaluation.add_evaluation_commands(commands)
    return parser.parse_args(arguments)


def _space_kind(text: str) -> str:
    """Reads the kind of a Space; `--space DIR NAME` would take the folder for it."""
    if text not in ("gradio", "web"):
        raise argparse.ArgumentTypeError(f"{text!r} is no kind of Space; write DIR and NAME first: DIR NAME --space")
    return text


def predict(**options: Any) -> int:
    """Predicts for all files and prints or writes one row per face."""
    from .prediction.predict_files import predict_files

    return predict_files(**options)


def export(
    model: str,
    format: str,
    quantize: str | None,
    calibration_data: Path | None,
    out: Path | None,
    face_detector: Path | None,
    runtime: Path | None,
) -> int:
    """Writes a model as one ONNX file, or as a folder with a page that runs it."""
    if not model:
        raise ValueError("the name of the model is empty; name its folder or Hub id")
    for_file = {"--quantize": quantize, "--calibration_data": calibration_data}
    for_page = {"--face_detector": face_detector, "--runtime": runtime}
    for flag, value in (for_file if format == "web" else for_page).items():
        if value is not None:
            raise ValueError(f"{flag} is not for --format {format}; leave it out")
    if format == "web":
        if out is None:
            raise ValueError("name the folder for the page with --out")
        from .publishing.web_export import export_web

        print(export_web(model, out, face_detector, runtime))
        return DONE
    if out is None:
        if not Path(model).is_dir():
            raise ValueError(f"{model} is not a folder here; name the file to write with --out")
        out = Path(model) / (f"model_{quantize}.onnx" if quantize else "model.onnx")
    from .publishing.onnx_export import export_onnx

    print(export_onnx(model, out, quantize, calibration_data))
    return DONE


def push(directory: Path, repo_id: str, private: bool, space: str | None) -> int:
    """Uploads a folder to the Hub, makes its Space if asked to, and prints where both are."""
    from .publishing.hub import push_folder

    url = push_folder(directory, repo_id, private)
    print(url)
    if space == "gradio":
        from .publishing.space import push_space

        print(push_space(url.repo_id))
    elif space == "web":
        from .publishing.web_space import push_web_space

        print(push_web_space(directory, url.repo_id))
    return DONE


def app(models: list[str] | None, face_detector: Path | None) -> int:
    """Serves the app until it is interrupted."""
    from .app.address import named_port

    port = named_port()
    from .app.page import serve

    serve(models, face_detector, port)
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The command line; that of the process by default.

    Returns:
        What the command returns; else see `run_command`.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports at length that it found no home
    os.environ["MPLBACKEND"] = "agg"  # figures are only written; a notebook leaves its own, which may not be installed
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it reports at length what ends in one line here
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version of itself
    show_warnings_briefly()
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    name = words[0] if words else ""
    try:
        if name == "train":  # the recipe's fields are its flags, and a parser of their own reads them
            from .train_command import train_by_recipe

            return train_by_recipe(words[1:])
        options = vars(_parse(words))
        name = options.pop("command")
        if name == "predict" or name in evaluation.COMMANDS:  # which end; the app is to give memory back
            keep_freed_memory()
        if name in evaluation.COMMANDS:
            return evaluation.run(name, options, words)
        return {"predict": predict, "export": export, "push": push, "app": app}[name](**options)
    except ModuleNotFoundError as error:
        if error.name is None or name not in EXTRAS:
            raise
        install = f"pip install 'involvit[{EXTRAS[name]}]'"
        raise ValueError(f"involvit {name} needs {error.name}, which is not installed: {install}") from error
