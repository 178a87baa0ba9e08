"""What macOS and Windows lack is hidden from a process that then trains, studies and predicts."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .involvit.training.training_runs import MODEL

ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "killpg", "getuid", "mkfifo"):
    delattr(os, name)
import psutil  # which is another there
sys.modules["resource"] = None  # an import of it fails
from involvit.cli import main
import PIL.Image
PIL.Image.new("RGB", (48, 48)).save("face.png")
sys.exit(
    main(["train", "--config", "recipe.yaml", "--out", "run"])
    or main(["predict", "face.png", "--model", "run"])
    or main(["study", "--config", "recipe.yaml", "--variants", "rednet", "--splits", "random", "--repeats", "1",
             "--jobs", "2", "--out", "study"])
)
"""


def test_training_prediction_and_studies_do_without(tmp_path):
    recipe = {"model": MODEL, "data": "rendered", "rendered_images": 70, "rendered_size": 96, "num_epochs": 1}
    recipe |= {"batch_size": 32, "num_workers": 0, "report_to": "none"}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "run" / "report.json").read_text())["run"]["peak_memory_gib"] is None
    assert "face.png: " in result.stdout
    assert (tmp_path / "study" / "report" / "report.html").exists()
