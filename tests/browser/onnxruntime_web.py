"""onnxruntime-web from npm, fetched once into outputs/ by its pinned version."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from involvit.publishing.web_export import BUILDS, RUNTIME_VERSION

ROOT = Path(__file__).parents[2]


def runtime_folder():
    """Returns the package's dist/ with the files that the page uses."""
    folder = ROOT / "outputs" / f"onnxruntime-web-{RUNTIME_VERSION}"
    names = [name for build in BUILDS.values() for name in build]
    if not all((folder / name).is_file() for name in names):
        if shutil.which("npm") is None:
            pytest.skip("npm is missing; install it (Debian and Ubuntu: sudo apt install npm)")
        folder.mkdir(parents=True, exist_ok=True)
        words = ["npm", "pack", "--silent", f"onnxruntime-web@{RUNTIME_VERSION}"]
        subprocess.run(words, cwd=folder, check=True, timeout=600)
        (package,) = folder.glob("*.tgz")
        with tarfile.open(package) as archive:
            for name in names:
                (folder / name).write_bytes(archive.extractfile(f"package/dist/{name}").read())
        package.unlink()
    return folder
