"""A model's folder -> a repository on the Hub, in one commit."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import CommitOperationAdd, HfApi, RepoUrl, constants, get_token, is_offline_mode
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, RevisionNotFoundError
from huggingface_hub.utils import logging, validate_repo_id

from ..model_folders import fault_of_weights
from ..training.public_recipe import public_recipe
from .card_contents import FIGURES
from .model_card import check_is_there, model_card, read_json

_INDEX = "model.safetensors.index.json"  # of weights in several files
# What belongs to a model. Whatever else is in its folder, such as checkpoints and logs, stays there.
_CONTENT = ("config.json", "preprocessor_config.json", "*.safetensors", _INDEX, "*.py", "model*.onnx", "report.json")
_GET_TOKEN = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"


class PushError(ValueError):
    """A folder could not be pushed. The message is one line that says why and what to do, and holds no token."""


def push_folder(directory: str | Path, repo_id: str, private: bool = False) -> RepoUrl:
    """Creates a Hub repository where there is none, and uploads a model's folder to it in one commit.

    Uploaded are weights, configurations, code, ONNX files, figures, the report, without the folders of this machine
    that it names, and the card, see `write_model_card`; in the folder nothing changes. The token is that of
    `find_token`. A push that broke off is repeated by the same call, which does not send again what has arrived; one
    that changes nothing makes no commit.

    Args:
        directory: A model's folder as `train.py` or `save_pretrained` writes it.
        repo_id: `owner/name`, or `name` for a repository of the token's owner.
        private: Whether only the owner can see the repository.

    Returns:
        The address of the repository; its `repo_id` is the full name.

    Raises:
        OSError: If there is no such folder, or a file of the model is missing or cannot be read.
        PushError: If the name cannot be used, there is no token, the Hub refuses it, or the connection is lost.
        ValueError: If weights, config.json, report.json or an existing card cannot be used.
    """
    directory = Path(directory)
    _check_model(directory)
    token = check_push(repo_id)
    model_card(directory, repo_id)  # what is wrong with the files is found before a repository is made for them
    additions = list(_additions(directory))
    api = HfApi(token=token)
    with one_line_errors(repo_id, token):
        url = api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.repo_info(url.repo_id).private:
            advice = "make it private in its settings, or choose another name"
            raise PushError(f"{url.repo_id} exists and is public; {advice}")
        published = published_card(api, url.repo_id)
    card = str(model_card(directory, url.repo_id, published)).encode()
    with one_line_errors(repo_id, token):
        # `upload_folder` would split what takes it long into several commits.
        operations = [*additions, CommitOperationAdd("README.md", card)]
        api.create_commit(url.repo_id, operations, commit_message=f"Upload {url.repo_name}")
    return url


def check_push(repo_id: str) -> str:
    """Returns the token of `find_token`, if a push to a repository of that name can be tried with it.

    Raises:
        PushError: If the name cannot be used, there is no token, or the libraries are to stay offline.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        advice = "give OWNER/NAME of letters, digits, '-', '_' and '.'"
        raise PushError(f"{repo_id!r} cannot name a repository: {advice}") from None
    token = find_token()
    if is_offline_mode():
        raise PushError(f"{repo_id} cannot be pushed in offline mode; unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE")
    return token


def _check_model(directory: Path) -> None:
    """Raises an error where others could not load what would be pushed."""
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is not a folder; give a model's folder, as train.py writes it")
    config = read_json(directory / "config.json")
    auto_map = config.get("auto_map") or {}
    if not isinstance(auto_map, dict):
        raise ValueError(f"{directory / 'config.json'}: its auto_map is no table of classes; save the model again")
    # A tokenizer has two, a slow one and a fast one, or null.
    entries = [name for names in auto_map.values() for name in (names if isinstance(names, list) else [names]) if name]
    code = {f"{name.rpartition('.')[0]}.py" for name in entries if "--" not in name}
    weights = {"model.safetensors"}
    if (directory / _INDEX).exists():
        try:
            weights = set(read_json(directory / _INDEX)["weight_map"].values())
        except (KeyError, AttributeError):
            raise ValueError(f"{directory / _INDEX} names no files of weights; save the model again") from None
    for name in sorted(weights | code):
        check_is_there(directory / name)
    for path in sorted(directory / name for name in weights):
        if fault := fault_of_weights(path):
            raise ValueError(f"{path} {fault}")


def find_token() -> str:
    """Returns the token that `huggingface_hub` finds: HF_TOKEN or that of its login.

    Raises:
        PushError: If there is none, it cannot be one, or the file that holds it cannot be read.
    """
    with one_line_errors("the Hub", ""):
        try:
            token = get_token()
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.filename is None:  # of the network, by which a token can come too
                raise
            path, reason = constants.HF_TOKEN_PATH, getattr(error, "strerror", None) or error
            raise PushError(
                f"{path}, the file of the token for the Hub, cannot be read ({reason}); {_GET_TOKEN}"
            ) from None
    if token is None:
        raise PushError(f"there is no token for the Hub; {_GET_TOKEN}")
    if not re.fullmatch(r"[!-~]+", token):  # an HTTP library would quote it in its complaint
        raise PushError(f"the token for the Hub holds characters that no token has; {_GET_TOKEN}")
    return token


def published_card(api: HfApi, repo_id: str, repo_type: str = "model") -> str | None:
    """Returns the text of a repository's README.md, None where there is none."""
    with TemporaryDirectory() as folder:
        try:
            path = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type, local_dir=folder)
            return Path(path).read_text(encoding="utf-8-sig")
        except (EntryNotFoundError, RevisionNotFoundError):  # a repository just made is empty
            return None


def _additions(directory: Path) -> Iterator[CommitOperationAdd]:
    for path in sorted(directory.iterdir()):
        if path.is_file() and any(map(path.match, (*_CONTENT, *FIGURES))):
            content: Path | bytes = path
            if path.name == "report.json":
                report = read_json(path)
                report["run"]["recipe"] = public_recipe(report["run"]["recipe"])
                content = (json.dumps(report, indent=2) + "\n").encode()
            yield CommitOperationAdd(path.name, content)


@contextmanager
def one_line_errors(repo_id: str, token: str) -> Iterator[None]:
    """Turns whatever goes wrong between here and the Hub into one line."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it would report each of its tries
    try:
        yield
    except PushError:
        raise
    except Exception as error:  # what the Hub library and the HTTP clients below it raise is not limited to a few types
        line = " ".join(_explain(error, repo_id).split())
        raise PushError(line.replace(token, "[token]") if token else line) from None
    finally:
        logging.set_verbosity(verbosity)


def _explain(error: BaseException, repo_id: str) -> str:
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    answer = next((link for link in chain if isinstance(link, HfHubHTTPError)), None)
    if answer is None:
        fault = next((link for link in chain if isinstance(link, OSError) and _is_local(link)), None)
        reason = str(fault or chain[-1]) or type(chain[-1]).__name__
        if isinstance(error, ValueError) or fault is not None:
            return f"{repo_id} was not pushed: {reason}"
        return (
            f"the connection to {constants.ENDPOINT} was lost or could not be made ({reason}); when the network is "
            f"back, run the same command again to continue the push of {repo_id}"
        )
    status = answer.response.status_code
    if status == 401:
        return f"the Hub does not accept the token (401), it may be mistyped, expired or revoked; {_GET_TOKEN}"
    if status == 403:
        return (
            f"the token may not write to {repo_id} (403): the name belongs to somebody else, or the token has no write "
            f"access; choose a name under your own account, or a token with write access"
        )
    if status in (409, 412):
        return f"{repo_id} is being changed by somebody else ({status}); run the same again"
    if status == 429 or status >= 500:
        return f"{constants.ENDPOINT} is overloaded or out of order ({status}); run the same again later"
    return f"the Hub refuses the push to {repo_id} ({status}): {answer.server_message or answer}"


def _is_local(error: OSError) -> bool:
    """Returns whether an error is of this machine's files, not of the network: no folder for temporary ones, say."""
    return error.filename is not None or error.errno in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT, errno.EMFILE)
