"""A Hub on loopback: as much of its API as huggingface_hub speaks when it pushes and pulls without Xet.

Models and Spaces; a Space is known here as `spaces/OWNER/NAME`.
"""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml


@dataclass
class Repo:
    """A repository: whether others see it, what it holds, the message of each commit, and what a Space runs on."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    sdk: str | None = None

    @property
    def sha(self):
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Serves on a free port while its block runs.

    Args:
        tokens: Token -> name of the account it belongs to.

    `fail(step, repo_id, with_, times)` lets a step of a push fail: with a status, or by closing the connection where
    `with_` is None. Steps are create, preupload, batch, upload, commit, and committed: it is made, the answer lost.
    """

    def __init__(self, tokens):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tokens = tokens
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads = Counter()
        self.failures: dict[tuple[str, str], deque] = {}

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Stays silent about clients that go away."""

    def create_repo(self, repo_id, files=()):
        self.repos[repo_id] = Repo(private=False, files=dict(files))

    def fail(self, step, repo_id, with_=None, times=100):
        self.failures[step, repo_id] = deque([with_] * times)


def _oid(content, is_lfs):
    return (
        hashlib.sha256(content).hexdigest()
        if is_lfs
        else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    )


def _is_lfs(path):
    return path.endswith((".safetensors", ".onnx", ".png"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def fails(self, step, repo_id):
        """Whether this request was told to fail; then it has."""
        planned = self.server.failures.get((step, repo_id))
        if not planned:
            return False
        status = planned.popleft()
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.answer(status, {"error": f"told to fail, for {self.headers['Authorization']}"})
        return True

    def user(self):
        """The account of the request's token; None without a token, False for a wrong one."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.server.tokens.get(token, False) if token else None

    def not_found(self, code):
        self.answer(404, {"error": code}, X_Error_Code=code)

    def handle_request(self):
        path, method = self.path.partition("?")[0], self.command
        if not path.startswith("/lfs/") and self.user() is False:
            self.body()
            message = "Invalid credentials in Authorization header"
            return self.answer(401, {"error": message}, X_Error_Message=message)
        name = r"((?:spaces/)?\w+/[\w.-]+)"
        for pattern, handle in (
            (r"POST /api/repos/create", self.create),
            (r"POST /api/validate-yaml", self.validate_yaml),
            (rf"POST /api/{name}/preupload/main", self.preupload),
            (rf"POST /{name}\.git/info/lfs/objects/batch", self.lfs_batch),
            (rf"PUT /lfs/{name}/(\w+)", self.upload),
            (rf"POST /api/{name}/commit/main", self.commit),
            (rf"GET /api/{name}/tree/\w+", self.tree),
            (rf"GET /api/{name}(?:/revision/\w+)?", self.info),
            (rf"(?:GET|HEAD) /{name}/resolve/\w+/(.+)", self.resolve),
        ):
            if match := re.fullmatch(pattern, f"{method} {path}".replace("/api/models/", "/api/", 1)):
                return handle(*match.groups())
        self.body()
        return self.not_found("NoSuchRoute")

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    # ---- push

    def create(self):
        asked, user = json.loads(self.body()), self.user()
        owner = asked.get("organization") or user
        is_space = asked.get("type") == "space"
        repo_id = f"{'spaces/' if is_space else ''}{owner}/{asked['name']}"
        if self.fails("create", repo_id):
            return None
        if user is None:
            return self.answer(401, {"error": "Unauthorized"})
        if owner != user:
            return self.answer(403, {"error": f"You don't have the rights to create a model under {repo_id}"})
        status = 409 if repo_id in self.server.repos else 200
        # A Space begins with the Hub's own README.md.
        files = {"README.md": f"---\nsdk: {asked['sdk']}\nemoji: 🐢\n---\nThe Hub's".encode()} if is_space else {}
        repo = Repo(asked.get("visibility") == "private", files, sdk=asked.get("sdk"))
        self.server.repos.setdefault(repo_id, repo)
        return self.answer(status, {"url": f"{self.server.url}/{repo_id}", "name": repo_id, "id": repo_id})

    def validate_yaml(self):
        metadata = yaml.safe_load(json.loads(self.body())["content"].split("---")[1])
        # The rule that the Hub states for the data set of a result.
        types = [result["dataset"]["type"] for model in metadata.get("model-index", []) for result in model["results"]]
        errors = [{"message": f"type {name!r}"} for name in types if not re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", name)]
        return self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def writable(self, step, repo_id):
        """The repository, or None when the request has been refused."""
        if self.fails(step, repo_id):
            return None
        if repo_id not in self.server.repos:
            return self.not_found("RepoNotFound")
        if not repo_id.removeprefix("spaces/").startswith(f"{self.user()}/"):
            return self.answer(403, {"error": "Forbidden"})
        return self.server.repos[repo_id]

    def preupload(self, repo_id):
        asked = json.loads(self.body())["files"]
        if repo := self.writable("preupload", repo_id):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if _is_lfs(file["path"]) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(repo.files[file["path"]], _is_lfs(file["path"]))
                    if file["path"] in repo.files
                    else None,
                }
                for file in asked
            ]
            self.answer(200, {"files": files})

    def lfs_batch(self, repo_id):
        asked = json.loads(self.body())["objects"]
        if self.writable("batch", repo_id):
            objects = [
                file
                if file["oid"] in self.server.blobs
                else {**file, "actions": {"upload": {"href": f"{self.server.url}/lfs/{repo_id}/{file['oid']}"}}}
                for file in asked
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, repo_id, oid):
        if self.fails("upload", repo_id):
            return None
        content = self.body()
        if _oid(content, is_lfs=True) != oid:
            return self.answer(400, {"error": "content is not what its name says"})
        self.server.blobs[oid] = content
        self.server.uploads[repo_id] += 1
        return self.answer(200)

    def commit(self, repo_id):
        header, *operations = [json.loads(line) for line in self.body().splitlines()]
        if repo := self.writable("commit", repo_id):
            for operation in operations:
                value = operation["value"]
                if operation["key"] == "deletedFile":
                    del repo.files[value["path"]]
                    continue
                is_lfs = operation["key"] == "lfsFile"
                content = self.server.blobs[value["oid"]] if is_lfs else base64.b64decode(value["content"])
                repo.files[value["path"]] = content
            repo.commits.append(header["value"]["summary"])
            if not self.fails("committed", repo_id):
                url = f"{self.server.url}/{repo_id}/commit/{repo.sha}"
                self.answer(200, {"success": True, "commitUrl": url, "commitOid": repo.sha})

    # ---- pull

    def readable(self, repo_id):
        repo = self.server.repos.get(repo_id)
        if repo is None or (repo.private and f"/{self.user()}/" not in f"/{repo_id}"):
            return self.not_found("RepoNotFound")
        return repo

    def info(self, repo_id):
        if repo := self.readable(repo_id):
            siblings = [{"rfilename": path} for path in repo.files]
            self.answer(
                200, {"id": repo_id, "modelId": repo_id, "sha": repo.sha, "private": repo.private, "siblings": siblings}
            )

    def tree(self, repo_id):
        if repo := self.readable(repo_id):
            files = [
                {"type": "file", "path": path, "size": len(content), "oid": _oid(content, is_lfs=False)}
                for path, content in repo.files.items()
            ]
            self.answer(200, files)

    def resolve(self, repo_id, path):
        if (repo := self.readable(repo_id)) is None:
            return None
        if path not in repo.files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=repo.sha)
        content = repo.files[path]
        return self.answer(200, content, ETag=f'"{_oid(content, _is_lfs(path))}"', X_Repo_Commit=repo.sha)


def user_environment(endpoint, home):
    """The environment of somebody whose Hub is at `endpoint`, whose caches are in `home`, and who has no token yet."""
    left_out = ("PYTHONPATH", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return inherited | {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def run(script, *arguments, endpoint, home, cwd, standard_input="", **environment):
    """Runs Python code as that user does."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        input=standard_input,
        cwd=cwd,
        env=user_environment(endpoint, home) | environment,
        capture_output=True,
        text=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
