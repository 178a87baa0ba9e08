"""The page in the browser: its tabs, its looks, and the server behind it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from .environment import FILES

# isort: split

import gradio as gr

from . import about, batch, compare, live, photo, video
from .bad_requests import CheckedBlocks, quieten_server
from .lifetime import files_end_with_app
from .models import learned_from_votes, settings, warm_up
from .probability_bars import CSS
from .visitor_files import remove_broken_uploads, sessions

MAX_FILE_SIZE = "200mb"
MAX_WAITING = 64  # requests; later ones are turned away

TABS = {"Photo": photo, "Live": live, "Video": video, "Batch": batch, "Compare": compare, "About": about}
NOTICE = """Says which **expression** a face shows. An expression is not a feeling, and no basis for a decision about a
person; the tab *About* says more. Nothing that you upload leaves this server or is kept after your visit."""
PEOPLE = """Its probabilities are shares of people: 60% for Happy means that about 6 of 10 people would say Happy."""
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no web fonts
PAGE_CSS = f"""{CSS}
.side_by_side {{ display: flex; flex-wrap: wrap; gap: 2rem; }}
.side_by_side > div {{ flex: 1 1 18rem; }}
.live img {{ width: 100%; border-radius: 6px; }}
thead th * {{ overflow-wrap: normal !important; word-break: keep-all !important; }}
"""
# Gradio leaves pictures without a name for screen readers: examples get that of their file, others that of their frame.
PAGE_HEAD = """<script>
new MutationObserver(() => document.querySelectorAll("img[alt='']").forEach((image) => {
  const file = image.closest("button.gallery-item") && image.src.split("/").pop().split(".")[0].replaceAll("_", " ");
  const label = file || image.closest(".block")?.querySelector("label, [data-testid='block-label']")?.innerText.trim();
  if (label) image.alt = label;
})).observe(document, { childList: true, subtree: true });
</script>"""


def build() -> gr.Blocks:
    """Puts the page together."""
    with CheckedBlocks(title="InvolViT: facial expressions", delete_cache=(60, 3600), analytics_enabled=False) as page:
        gr.Markdown(f"# InvolViT\n\n{NOTICE} {PEOPLE if learned_from_votes() else ''}")
        for name, tab in TABS.items():
            with gr.Tab(name):
                tab.layout()

        def forget(request: gr.Request) -> None:
            """Deletes what is left of a session when its page is closed."""
            sessions.forget(request.session_hash)
            remove_broken_uploads()
            page.state_holder.session_data.pop(request.session_hash, None)  # Gradio would keep it for an hour

        page.unload(forget)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=2)


def serve(models: Sequence[str] | None = None, face_detector: str | None = None, port: int | None = None) -> None:
    """Loads the models and serves the page until it is interrupted.

    Args:
        models: Folders, Hub ids or `.onnx` files; all but the first are for comparison. By default the package's model.
        face_detector: YuNet's file; by default from the Hub or its cache.
        port: Where to listen; by default where Gradio finds a free one, from 7860 on.

    Raises:
        FileNotFoundError: If there is no such model or detector.
        ValueError: If one cannot be loaded.
        OSError: If the port is in use.
    """
    settings.models = list(models or settings.models)
    settings.face_detector = face_detector
    # The state is what was found in the last photo; a tool for agents finds it anew.
    warnings.filterwarnings("ignore", "This MCP server includes a tool that has a gr.State input")
    quieten_server()
    with files_end_with_app(Path(FILES.name)):
        warm_up()
        build().launch(
            server_port=port,
            inbrowser=sys.stdout.isatty(),  # where a person starts it
            theme=THEME,
            css=PAGE_CSS,
            head=PAGE_HEAD,
            max_file_size=MAX_FILE_SIZE,
            run_history=False,
            mcp_server=True,
            ssr_mode=False,
            footer_links=["api", "settings"],
        )
