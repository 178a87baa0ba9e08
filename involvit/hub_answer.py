"""Whether the Hugging Face Hub answers, and if not, why."""

from __future__ import annotations

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from .console import environment_advice, one_line


def fault_of_hub(repo_id: str, file: str, timeout_s: float) -> str | None:
    """Returns why the Hub does not answer when asked for a file, None if it does, be it that there is none.

    Where it does not, the libraries would ask six times, for up to a minute each, and say so each time.
    """
    try:
        get_hf_file_metadata(hf_hub_url(repo_id, file), timeout=timeout_s)
    except HfHubHTTPError:  # an answer too
        return None
    except Exception as error:  # no network, told to do without it, a proxy or certificates that cannot be used
        return f"{type(error).__name__}: {one_line(error)}{environment_advice(error)}"
    return None
