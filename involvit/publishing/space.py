"""A model on the Hub -> the Space that shows it: our app, the packages that it is made of, and the model's name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from huggingface_hub import CardData, CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, RepoUrl

from .hub import PushError, find_token, one_line_errors, published_card

# The package is not on PyPI, and the build of a Space sees its requirements.txt alone. So its code lies beside app.py,
# where Python looks for it first.
_PACKAGES = ("dataset_script", "involvit", "modeling_involvit")
_CODE = (".py", ".jinja", ".yaml")
_LEFT_OUT = {"default_model", "fer_report"}  # what an installation brings along, and the app of another model not needs

_APP = '''"""Starts the app of InvolViT with the model {model}."""

import sys

from involvit.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", "--model", "{model}"]))
'''
_TEXT = """
# {name}

Which expression does a face show? This is the app of InvolViT with the model [{model}]({url}): photos, camera, videos,
many files at once, two models side by side, and an API.
"""

logger = logging.getLogger(__name__)


def push_space(model: str) -> RepoUrl:
    """Creates the Gradio Space of a model, under the same name, and uploads the app to it in one commit.

    It is private if the model is; then it reads the model with the token in its secret HF_TOKEN, which only its owner
    can set. A Space of ours that is there is brought up to date; what its README.md says by hand stays.

    Args:
        model: `owner/name` of a model on the Hub.

    Returns:
        The address of the Space.

    Raises:
        PushError: If there is no token, the Hub refuses it, the connection is lost, or the Space exists and holds
            another app, or is public while the model is private.
    """
    files = {**_code(), "app.py": _APP.format(model=model), "requirements.txt": "\n".join(_needed()) + "\n"}
    token = find_token()
    api = HfApi(token=token)
    with one_line_errors(f"the Space {model}", token):
        is_private = api.model_info(model).private
        url = api.create_repo(model, repo_type="space", space_sdk="gradio", private=is_private or None, exist_ok=True)
        space = api.space_info(model)
        if is_private and not space.private:
            raise PushError(f"the model {model} is private, but its Space is public; make it private in its settings")
        there = {file.rfilename for file in space.siblings or ()}
        if "app.py" in there and "involvit/cli.py" not in there:
            raise PushError(f"the Space {model} holds another app; rename it, or push the model under another name")
        # The Hub writes a README.md into a new Space.
        published = published_card(api, model, "space") if "app.py" in there else None
    files["README.md"] = _readme(model, f"{url.endpoint}/{model}", published)
    gone = {path for path in there - files.keys() if path.partition("/")[0] in _PACKAGES}
    with one_line_errors(f"the Space {model}", token):
        operations = [CommitOperationAdd(path, content.encode()) for path, content in files.items()]
        operations += map(CommitOperationDelete, sorted(gone))
        api.create_commit(model, operations, repo_type="space", commit_message=f"Show {model}")
    if is_private:
        advice = f"put one with read access into the secret HF_TOKEN, at {url}/settings"
        logger.warning("The Space is private, and needs a token to read the model: %s", advice)
    return url


def _code() -> dict[str, str]:
    """The files of our packages and the licence, by their paths in the Space."""
    root = Path(__file__).parents[2]
    paths = [path for package in _PACKAGES for path in sorted(root.joinpath(package).rglob("*"))]
    wanted = [path.relative_to(root) for path in paths if path.suffix in _CODE]
    code = {path.as_posix(): root.joinpath(path).read_text("utf-8") for path in wanted if not _LEFT_OUT & {*path.parts}}
    licence = metadata.distribution("involvit").read_text("licenses/LICENSE")  # not there in a checkout
    return {**code, "LICENSE": licence or root.joinpath("LICENSE").read_text("utf-8")}


def _needed() -> Iterator[str]:
    """What the package and its app need, as lines for pip."""
    for line in metadata.requires("involvit") or ():
        requirement, _, marker = line.partition(";")
        if "extra ==" not in marker:
            yield line
        elif re.search(r"extra == .app\W", marker):
            yield requirement.strip()


def _readme(model: str, url: str, published: str | None) -> str:
    """Returns the Space's README.md, which tells the Hub what to run; of the one that is there, what is ours is new."""
    name = model.rpartition("/")[2]
    (gradio,) = (line for line in _needed() if line.startswith("gradio["))
    version = re.search(r">=([0-9.]+)", gradio)[1].split(".")
    ours = {
        "sdk": "gradio",
        "sdk_version": ".".join([*version, "0"][:3]),
        "python_version": "3.11",
        "app_file": "app.py",
        "models": [model],
    }
    return space_readme(name, ours, _TEXT.format(name=name, model=model, url=url), published)


def space_readme(name: str, ours: Mapping[str, Any], text: str, published: str | None) -> str:
    """Returns a Space's README.md from the settings that are ours and a first text; what is published stays beside."""
    if published is not None:
        card = RepoCard(published)
        return f"---\n{CardData(**{**card.data.to_dict(), **ours}).to_yaml()}\n---\n{card.text}"
    looks = {"title": name, "emoji": "🙂", "colorFrom": "blue", "colorTo": "yellow"}
    words = {"license": "apache-2.0", "short_description": "Which expression does a face show?"}
    return f"---\n{CardData(**looks, **ours, **words).to_yaml()}\n---\n{text}"
