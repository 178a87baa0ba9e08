"""What the libraries must find when they are imported: import this module before gradio, transformers and torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import getproxies

PREFIX = "involvit_app_"
FILES = tempfile.TemporaryDirectory(prefix=PREFIX)  # of all visitors; gone when the app ends
UPLOADS = Path(FILES.name, "uploads")
os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # transformers would ask the Hub for it
# Gradio asks its own server whether it runs; a proxy could not reach it.
_NOT_BY_PROXY = (getproxies().get("no"), os.environ.get("GRADIO_SERVER_NAME"), "localhost", "127.0.0.1")
os.environ["no_proxy"] = ",".join(filter(None, _NOT_BY_PROXY))

try:
    from spaces import GPU  # on a Space with ZeroGPU
except ImportError:

    def GPU(function: Any) -> Any:  # noqa: N802
        """Stands in for the decorator of ZeroGPU."""
        return function
