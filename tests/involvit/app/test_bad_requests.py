import asyncio
import logging

import gradio as gr
import pytest
from gradio.context import LocalContext
from PIL import Image

from involvit.app.bad_requests import CheckedBlocks, quieten_server
from involvit.app.tabs import photo_input


@pytest.fixture(scope="module")
def page():
    with CheckedBlocks(analytics_enabled=False) as page:
        inputs = [photo_input(), gr.Image(type="numpy"), gr.Number(precision=0), gr.Dropdown(["a"]), gr.File()]
        gr.Button().click(lambda *_: None, inputs, None)
    page.has_launched = True  # only then does Gradio check whose a file is
    return page


def prepared(page, *inputs):
    async def prepare():
        LocalContext.blocks.set(page)
        return await page.preprocess_data(page.fns[0], list(inputs), None)

    return asyncio.run(prepare())


def test_a_request_that_fits_is_taken(page):
    assert prepared(page, None, None, 3, "a", None) == [None, None, 3, "a", None]


@pytest.mark.parametrize(
    "inputs",
    [
        *((), (1,), ("x", None, 1, "a", None), (None, None, "abc", "a", None), (None, None, 1e400, "a", None)),
        *((None, None, [1], "a", None), (None, None, 1, "b" * 5000, None), (None, None, 1, ["b"], None)),
        *((None, {"url": "data:image/png;base64,AAAA"}, 1, "a", None), (None, None, 1, "a", [{"path": 5}])),
        *(({"path": "a" * 5000}, None, 1, "a", None), ({"path": "\0"}, None, 1, "a", None)),
    ],
)
def test_one_that_does_not_is_told_so_in_one_line_without_a_traceback(page, inputs):
    with pytest.raises(gr.Error) as error:
        prepared(page, *inputs)
    message = error.value.message
    assert message.startswith("The request does not fit the API") and "\n" not in message and len(message) <= 501
    assert error.value.print_exception is False


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("marks", [{}, {"meta": None}, {"meta": {}}, {"meta": {"_type": "other"}}])
def test_an_image_of_the_server_is_no_photo_of_a_visitor_however_it_is_marked(page, tmp_path, place, marks):
    Image.new("RGB", (32, 32)).save(tmp_path / "secret.png")
    inputs = [None, None, 1, "a", None]
    inputs[place] = {"path": str(tmp_path / "secret.png"), **marks}
    with pytest.raises(gr.Error, match="not uploaded by a user"):
        prepared(page, *inputs)


def test_the_server_names_an_error_in_one_line(monkeypatch):
    monkeypatch.delenv("INVOLVIT_DEBUG", raising=False)
    logger, lines = logging.getLogger("uvicorn.error"), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))
    logger.addHandler(handler)
    quieten_server()
    try:
        for debug in ("", "1"):
            monkeypatch.setenv("INVOLVIT_DEBUG", debug)
            try:
                raise KeyError("\nnowhere")
            except KeyError:
                logger.exception("Exception in ASGI application\n")
    finally:
        logger.removeHandler(handler)
        logger.filters.clear()
    assert lines[0] == "Exception in ASGI application: KeyError('\\nnowhere')"
    assert "Traceback" in lines[1]
