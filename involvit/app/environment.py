"""What the libraries must find when they are imported: import this module before gradio, transformers and torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

PREFIX = "involvit_app_"
FILES = tempfile.TemporaryDirectory(prefix=PREFIX)  # of all visitors; gone when the app ends
UPLOADS = Path(FILES.name, "uploads")
os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # transformers would ask the Hub for it

try:
    from spaces import GPU  # on a Space with ZeroGPU
except ImportError:

    def GPU(function: Any) -> Any:  # noqa: N802
        """Stands in for the decorator of ZeroGPU."""
        return function
