"""The exported page in Chromium and in Firefox: make test-browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.web_page import READY, difference, serving, table_of
from involvit.prediction.face_detection import cached_yunet
from involvit.prediction.predictor import Predictor
from involvit.publishing.web_export import BUILDS, export_web
from modeling_involvit import LABELS

from ..involvit.publishing.hub_server import free_port
from .marionette import running_firefox
from .onnxruntime_web import ROOT, runtime_folder

pytestmark = pytest.mark.browser
DROP = """([name, type, text, event]) => {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    const options = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new (event === "drop" ? DragEvent : ClipboardEvent)(event, options));
}"""


@pytest.fixture(scope="session")
def runtime():
    return runtime_folder()


@pytest.fixture(scope="session")
def yunet():
    try:
        return os.environ.get("YUNET") or cached_yunet()
    except OSError as reason:
        pytest.skip(f"{reason}: make test-browser YUNET=FILE")


@pytest.fixture(scope="session")
def site(tmp_path_factory, runtime, yunet):
    return export_web(ROOT / "checkpoints" / "involvit-tiny", tmp_path_factory.mktemp("web") / "site", yunet, runtime)


@pytest.fixture(scope="session")
def site_url(site):
    with serving(site) as url:
        yield url


@pytest.fixture
def open_site(browser, site_url):
    """Returns a function that opens the page, waits until it is ready, and takes the network away."""
    contexts = []

    def open_site(script="", url=site_url, camera=True, **options):
        context = browser.new_context(**options)
        context.grant_permissions(["camera"] if camera else [])
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.elsewhere, page.problems = [], []
        page.on(
            "request",
            lambda request: request.url.startswith((url, "blob:", "data:")) or page.elsewhere.append(request.url),
        )
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda one: "Content Security Policy" in one.text and page.problems.append(one.text))
        if script:
            page.add_init_script(script)
        page.goto(url)
        page.locator(READY).first.wait_for(state="attached")
        context.set_offline(True)
        return page

    yield open_site
    for context in contexts:
        context.close()


@pytest.fixture
def twenty(photo, tmp_path):
    """Twenty pictures of one face or two: two people, larger and smaller, turned, grey, bright, dark and mirrored."""
    both = cv2.imread(str(photo))
    files = []
    for one, image in enumerate((both[:, :512], both[:, 512:])):
        turned = [
            cv2.warpAffine(
                image, cv2.getRotationMatrix2D((256, 200), angle, 1), (512, 512), borderMode=cv2.BORDER_REPLICATE
            )
            for angle in (-15, 15)
        ]
        changed = [
            *(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for scale in (1, 0.5, 0.7, 2)),
            *turned,
            image[:, ::-1],
            cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
            cv2.convertScaleAbs(image, alpha=0.6),
            cv2.convertScaleAbs(image, alpha=1.2, beta=10),
        ]
        for number, pixels in enumerate(changed):
            files.append(tmp_path / f"{one}_{number}.{'jpg' if number % 2 else 'png'}")
            cv2.imwrite(str(files[-1]), pixels)
    return files


def choose(page, path):
    page.locator("#files").set_input_files(path)


def shown(page):
    page.locator("table.bars").first.wait_for()
    return page.locator("table.bars caption").all_inner_texts()


def bars(page):
    rows = page.locator("table.bars").first.locator("tr").all()
    return {row.locator("th").inner_text(): int(row.locator("td").last.inner_text().rstrip("%")) for row in rows}


def test_the_pinned_hashes_are_those_of_the_npm_package(runtime):
    for build in BUILDS.values():
        for name, integrity in build.items():
            digest = hashlib.sha384((runtime / name).read_bytes()).digest()
            assert integrity == f"sha384-{base64.b64encode(digest).decode()}"


def test_a_photo_shows_its_faces_with_no_network(open_site, photo, screenshot):
    page = open_site()
    choose(page, photo)
    assert shown(page) == ["Face 1: Neutral", "Face 2: Happy"]
    probabilities = bars(page)
    assert list(probabilities) == list(LABELS) and 97 <= sum(probabilities.values()) <= 103
    assert page.locator("#canvas").get_attribute("aria-label") == "The picture: face 1 Neutral, face 2 Happy"
    screenshot(page, "web_photo")
    assert page.elsewhere == [] and page.problems == []


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted(open_site, photo, event):
    page = open_site()
    page.evaluate(DROP, ["two.png", "image/png", base64.b64encode(photo.read_bytes()).decode(), event])
    assert len(shown(page)) == 2


def test_twenty_faces_get_the_probabilities_of_python(open_site, twenty, site, yunet):
    page = open_site()
    for whole in (False, True):
        options = {} if whole else {"faces": True, "face_detector": yunet}
        compared = difference(table_of(page, twenty, whole), twenty, Predictor(site / "model.onnx", **options))
        print(compared)
        assert compared["same"].all() and (whole or compared["faces"].sum() >= 20)
        assert compared["probability"].max() <= 0.01
        assert whole or compared["box"].max() <= 1


def test_the_table_of_several_photos_is_that_of_the_command_line(open_site, photo, tmp_path, site, yunet, screenshot):
    bad, none = tmp_path / "bad, name.jpg", tmp_path / "none.png"
    bad.write_text("hello")
    Image.new("RGB", (200, 200), "grey").save(none)
    page = open_site()
    table = table_of(page, [photo, bad, none], whole=False)
    screenshot(page, "web_several")
    command = ["involvit", "predict", photo, none, "--faces", "--face_detector", yunet]
    command += ["--model", site / "model.onnx", "--out", tmp_path / "table.csv"]
    subprocess.run([ROOT / ".venv" / "bin" / str(command[0]), *map(str, command[1:])], check=True, cwd=tmp_path)
    python = pd.read_csv(tmp_path / "table.csv")
    assert list(table.columns) == list(python.columns)
    assert table["status"].tolist() == ["ok", "ok", "unreadable", "no face"]
    assert table["file"].tolist() == ["two.png", "two.png", "bad, name.jpg", "none.png"]
    fixed = ["face", "label", "status", "model", "detector"]
    ours = table[table["status"] != "unreadable"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours[fixed], python[fixed], check_dtype=False)
    page.get_by_role("button", name="two.png").click()  # one of them, large
    assert len(shown(page)) == 2


def test_the_camera_is_shown_with_its_faces_and_rate(open_site, screenshot):
    page = open_site()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text(re.compile(r"^\d+\.\d frames a second")).wait_for()
    assert shown(page)[0].startswith("Face 1: ")
    page.wait_for_timeout(2000)
    screenshot(page, "web_camera")
    page.get_by_role("button", name="Stop the camera").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert page.problems == []


def test_a_square_is_dragged_or_laid_by_keys_and_the_whole_picture_taken(open_site, photo, site):
    page = open_site()
    choose(page, photo)
    assert len(shown(page)) == 2
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    frame = canvas.bounding_box()
    x, y, scale = frame["x"], frame["y"], frame["width"] / 1024
    page.mouse.move(x + 150 * scale, y + 20 * scale)
    page.mouse.down()
    page.mouse.move(x + 310 * scale, y + 180 * scale, steps=4)
    page.mouse.up()
    page.get_by_text("Face 1: Happy").wait_for()
    assert len(shown(page)) == 1
    image = np.asarray(Image.open(photo))[20:180, 150:310]
    (face,) = Predictor(site / "model.onnx")(image)
    assert bars(page)["Happy"] == pytest.approx(100 * face.probabilities["Happy"], abs=5)  # the mouse stops at pixels
    choose(page, photo)
    page.locator("table.bars").nth(1).wait_for()
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp", "+", "-", "Enter"):
        page.keyboard.press(key)
    page.locator("table.bars").nth(1).wait_for(state="detached")
    page.get_by_role("button", name="Take the whole picture").click()
    assert len(shown(page)) == 1 and page.problems == []


def test_bad_input_is_one_friendly_line(open_site, tmp_path, photo):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("L", (12_500, 8_000)).save(tmp_path / "large.png")
    page = open_site()
    for name, line in (
        ("text.jpg", "text.jpg is not a photo that this browser can read; choose a JPEG or PNG file."),
        ("empty.png", "empty.png is not a photo that this browser can read; choose a JPEG or PNG file."),
        ("large.png", "large.png has 100 megapixels; make it smaller, at most 64."),
    ):
        choose(page, tmp_path / name)
        page.get_by_role("alert").get_by_text(line, exact=True).wait_for()
    choose(page, photo)  # and goes on
    assert len(shown(page)) == 2
    assert page.get_by_role("alert").inner_text() == ""


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }",
            "No camera was found",
        ),
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }",
            "not allowed",
        ),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", "served by https"),
    ],
)
def test_without_a_camera_there_is_one_line(open_site, script, line):
    page = open_site(script)
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_role("alert").get_by_text(line).wait_for()
    page.get_by_role("button", name="Start the camera").wait_for()


def test_without_webassembly_there_is_one_line(open_site):
    page = open_site("delete window.WebAssembly")
    assert page.get_by_role("alert").inner_text().startswith("This browser has no WebAssembly")


def test_a_runtime_with_another_hash_is_not_run(open_site, site, tmp_path):
    other = shutil.copytree(site, tmp_path / "site")
    with (other / "runtime" / "ort.wasm.bundle.min.mjs").open("a") as file:
        file.write("// changed")
    with serving(other) as url:
        page = open_site(url=url)
        page.get_by_role("alert").get_by_text("Load the page again").wait_for()


def test_no_script_of_the_page_can_send_anything_elsewhere(open_site, site_url):
    page = open_site()
    page.context.set_offline(False)
    with serving(Path("/nonexistent")) as other:
        send = f"fetch('{other}').then(() => 'sent', () => 'refused')"
        assert page.evaluate(send) == "refused"
        assert page.evaluate("fetch('settings.json').then(() => 'sent', () => 'refused')") == "sent"


def test_without_a_detector_the_whole_picture_is_the_face(open_site, runtime, photo, tmp_path, screenshot):
    site = export_web(ROOT / "checkpoints" / "involvit-tiny", tmp_path / "site", runtime=runtime)
    with serving(site) as url:
        page = open_site(url=url)
    choose(page, photo)
    assert len(shown(page)) == 1
    (face,) = Predictor(site / "model.onnx")(str(photo))
    assert bars(page)[face.label] == pytest.approx(100 * face.score, abs=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("phone", {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}),
        ("dark", {"color_scheme": "dark"}),
    ],
)
def test_it_fits_a_phone_and_the_dark(open_site, photo, screenshot, name, options):
    page = open_site(**options)
    choose(page, photo)
    shown(page)
    page.get_by_text("Intended use and limits").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, f"web_{name}")


def test_everything_has_a_name_and_is_reached_by_keyboard(open_site, photo):
    page = open_site()
    choose(page, photo)
    shown(page)
    assert page.locator("html").get_attribute("lang") == "en" and page.title()
    for control in page.locator("button:visible, input:visible, a:visible, canvas:visible, summary:visible").all():
        name = control.evaluate("one => one.ariaLabel || one.labels?.[0]?.innerText || one.innerText")
        assert name.strip(), control.evaluate("one => one.outerHTML")
    reached = set()
    page.locator("body").click(position={"x": 1, "y": 1})
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"files", "camera", "whole", "canvas", "take", "SUMMARY"} <= reached
    assert page.locator("table.bars th[scope=row]").count() == 2 * len(LABELS)
    assert page.locator("h1").count() == 1 and page.locator("[role=status]").count() == 1


def test_firefox_opens_the_page_and_predicts(site_url, photo, tmp_path):
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("Firefox is missing; install it (Debian: sudo apt install firefox-esr)")
    (tmp_path / "profile").mkdir()
    with running_firefox(program, tmp_path / "profile", free_port()) as firefox:
        firefox("WebDriver:Navigate", url=site_url)
        firefox.find("#files:enabled")
        firefox.type("#files", str(photo))
        assert firefox.text("table.bars caption") == "Face 1: Neutral"
        assert firefox.text("table.bars + table.bars caption") == "Face 2: Happy"
        (ROOT / "outputs" / "screenshots").mkdir(parents=True, exist_ok=True)
        firefox.screenshot(ROOT / "outputs" / "screenshots" / "web_firefox.png")


def test_the_scripts_agree_with_their_types(tmp_path):
    if shutil.which("npx") is None:
        pytest.skip("npx is missing; install npm (Debian and Ubuntu: sudo apt install npm)")
    pages = shutil.copytree(ROOT / "involvit" / "publishing" / "web", tmp_path / "web")
    strict = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--noUnusedLocals", "--noUnusedParameters"]
    where = ["--target", "esnext", "--module", "esnext", "--moduleResolution", "bundler", "--types", ""]
    tsc = ["npx", "--yes", "--package", "typescript@7.0.2", "tsc", *strict, "--noImplicitReturns", *where]
    process = subprocess.run(
        [*tsc, "--lib", "esnext,dom,dom.iterable", "page.js"], cwd=pages, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_scripts_are_linted(tmp_path):
    if shutil.which("npx") is None:
        pytest.skip("npx is missing; install npm (Debian and Ubuntu: sudo apt install npm)")
    names = ("no-unused-vars", "no-shadow", "no-var", "prefer-const", "eqeqeq", "no-unreachable")
    rules = json.dumps(dict.fromkeys(names, "error"))
    eslint = ["npx", "--yes", "--package", "eslint@9", "eslint", "--no-config-lookup", "--rule", rules, "."]
    pages = shutil.copytree(ROOT / "involvit" / "publishing" / "web", tmp_path / "web")
    process = subprocess.run(eslint, cwd=pages, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
