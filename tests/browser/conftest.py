"""The app in Debian's Chromium, headless, with a video of a face for a camera."""

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image
from skimage.data import astronaut

from benchmarks.app_load import running_app
from benchmarks.web_page import start_chromium, write_film

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "outputs" / "screenshots"


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """A photo with two faces: the astronaut of scikit-image on the left and the officer of matplotlib on the right."""
    with get_sample_data("grace_hopper.jpg") as file:
        officer = np.asarray(Image.open(file).convert("RGB"))[:512]
    path = tmp_path_factory.mktemp("photos") / "two.png"
    Image.fromarray(np.concatenate([astronaut(), officer], axis=1)).save(path)
    return path


@pytest.fixture(scope="session")
def camera(tmp_path_factory):
    """A film for Chromium's fake camera."""
    return write_film(tmp_path_factory.mktemp("camera") / "face.mjpeg")


@pytest.fixture(scope="session")
def url():
    """The address of the running app."""
    with running_app(os.environ.get("YUNET")) as (url, _):
        yield url


@pytest.fixture(scope="session")
def browser(camera):
    """Chromium, whose camera shows the film."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = start_chromium(playwright, camera)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, url):
    """Returns a function that opens the app in a new visitor's window and keeps a list of what was asked of others."""
    contexts = []

    def is_elsewhere(address):
        return not address.startswith((url, "data:", "blob:"))

    def open_page(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        context.grant_permissions(["camera"])
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.elsewhere, page.problems = [], []
        page.on("request", lambda request: is_elsewhere(request.url) and page.elsewhere.append(request.url))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(url)
        page.get_by_role("tab", name="Photo").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def screenshot():
    """Returns a function that writes a picture of a whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
