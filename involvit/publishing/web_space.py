"""A model's folder -> the static Space that shows it: the page that runs the model in the visitor's browser."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import CommitOperationAdd, HfApi, RepoUrl

from .hub import PushError, find_token, one_line_errors, published_card
from .space import space_readme
from .web_export import export_web

_TEXT = """
# {name}

Which expression does a face show? This page runs the model [{model}]({url}) in your browser: photos and camera pictures
stay on your device.
"""


def push_web_space(directory: str | Path, model: str) -> RepoUrl:
    """Creates the static Space of a model, under the same name, and uploads the page to it in one commit.

    It is private if the model is. A Space of ours that is there is brought up to date; what its README.md says by hand
    stays.

    Args:
        directory: The model's folder.
        model: `owner/name` under which it is on the Hub.

    Returns:
        The address of the Space.

    Raises:
        PushError: If there is no token, the Hub refuses it, the connection is lost, or the Space exists and holds
            something else, or is public while the model is private.
        FileNotFoundError, ModuleNotFoundError, ValueError: As `export_web` does.
    """
    token = find_token()
    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        site = export_web(directory, Path(folder) / "site")
        with one_line_errors(f"the Space {model}", token):
            is_private = api.model_info(model).private
            url = api.create_repo(
                model, repo_type="space", space_sdk="static", private=is_private or None, exist_ok=True
            )
            space = api.space_info(model)
            if is_private and not space.private:
                raise PushError(
                    f"the model {model} is private, but its Space is public; make it private in its settings"
                )
            there = {file.rfilename for file in space.siblings or ()} - {".gitattributes", "README.md"}
            # The Hub writes a style.css and an index.html into a new static Space.
            if there - {"index.html", "style.css"} and "settings.json" not in there:
                raise PushError(f"the Space {model} holds something else; rename it, or push under another name")
            published = published_card(api, model, "space") if "settings.json" in there else None
            (site / "README.md").write_text(_readme(model, f"{url.endpoint}/{model}", published), encoding="utf-8")
            files = sorted(path for path in site.rglob("*") if path.is_file())
            operations = [CommitOperationAdd(path.relative_to(site).as_posix(), path) for path in files]
            api.create_commit(model, operations, repo_type="space", commit_message=f"Show {model}")
    return url


def _readme(model: str, url: str, published: str | None) -> str:
    name = model.rpartition("/")[2]
    ours = {"sdk": "static", "app_file": "index.html", "models": [model]}
    return space_readme(name, ours, _TEXT.format(name=name, model=model, url=url), published)
