"""What people do with the app, in Chromium: make test-browser."""

import csv
import re
import zipfile

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from modeling_involvit import LABELS

pytestmark = pytest.mark.browser


def upload(page, path, number=0):
    page.locator("input[type=file]").nth(number).set_input_files(str(path))


def panel(page):
    return page.get_by_role("tabpanel").filter(visible=True)


def tab(page, name):
    page.get_by_role("tab", name=name).click()
    return panel(page)


def shown_probabilities(where):
    rows = where.locator("table.bars").first.locator("tr").all()
    return {row.locator("th").inner_text(): int(row.locator("td").last.inner_text().rstrip("%")) for row in rows}


def images_loaded(where, number):
    """Waits until so many pictures are loaded."""
    for index in range(number):
        where.locator("img").nth(index).wait_for()
    where.page.wait_for_function("[...document.images].every(image => image.complete)")


def test_a_photo_shows_its_faces_and_a_chosen_one_its_probabilities_and_heat_maps(open_page, photo, screenshot):
    page = open_page()
    upload(page, photo)
    first = page.get_by_role("radio", name=re.compile("^1 "))
    first.wait_for()
    page.locator("table.bars").wait_for()
    probabilities = shown_probabilities(panel(page))
    assert list(probabilities) == list(LABELS) and 97 <= sum(probabilities.values()) <= 103
    images_loaded(panel(page), 6)
    screenshot(page, "photo")
    page.get_by_role("radio", name=re.compile("^2 ")).check()
    page.get_by_text(re.compile("^Face 2")).wait_for()
    first.focus()
    page.keyboard.press("ArrowRight")  # by keyboard alone
    assert page.elsewhere == [] and page.problems == []


def test_before_there_is_a_photo_there_are_no_empty_boxes_and_an_example_is_a_click_away(open_page, screenshot):
    page = open_page()
    page.get_by_text("Examples", exact=True).wait_for()
    page.wait_for_timeout(1000)
    screenshot(page, "start")
    assert page.get_by_text("Involution branch").filter(visible=True).count() == 0
    assert page.get_by_text("Grad-CAM").filter(visible=True).count() == 0
    for number in (1, 0):  # one after the other
        panel(page).locator(".gallery-item").nth(number).click()
        page.locator("table.bars").wait_for()
        page.get_by_text("Involution branch").filter(visible=True).wait_for()
        page.get_by_text(re.compile("of 10 people would say")).filter(visible=True).nth(1).wait_for()
        images_loaded(panel(page), 6)
        screenshot(page, f"example_{number}")
    for name in ("Video", "Batch", "Compare"):
        boxes = tab(page, name).locator("[data-testid='block-label']").filter(visible=True)
        page.wait_for_timeout(500)
        screenshot(page, f"start_{name}")
        assert boxes.count() <= 1, name  # what is asked for
    assert page.problems == []


def test_a_photo_taken_away_takes_its_results_along(open_page, photo):
    page = open_page()
    upload(page, photo)
    page.locator("table.bars").wait_for()
    panel(page).get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
    page.locator("table.bars").wait_for(state="detached")
    assert page.get_by_role("radio").count() == 0
    assert page.get_by_text("Choose a photo first").count() == 0


def test_a_click_on_a_face_chooses_it(open_page, photo):
    page = open_page()
    upload(page, photo)
    page.locator("table.bars").wait_for()
    outlined = page.locator(".image-frame.selectable img")
    box = outlined.bounding_box()
    outlined.click(position={"x": box["width"] * 0.22, "y": box["height"] * 0.22})
    page.get_by_text(re.compile("^Face 2")).wait_for()


def test_a_photo_without_a_face_can_be_taken_as_one(open_page, tmp_path, screenshot):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    page = open_page()
    upload(page, tmp_path / "grey.png")
    button = page.get_by_role("button", name="Take the whole image as the face")
    button.wait_for()
    screenshot(page, "no_face")
    button.click()
    page.locator("table.bars").wait_for()


def test_a_text_that_calls_itself_a_photo_is_refused_in_a_friendly_line(open_page, tmp_path, photo, screenshot):
    (tmp_path / "text.jpg").write_text("hello")
    page = open_page()
    upload(page, tmp_path / "text.jpg")
    page.get_by_text(re.compile("^text.jpg is not a photo")).wait_for()
    page.wait_for_timeout(500)  # it fades in
    screenshot(page, "refused")


def test_a_batch_gives_a_table_that_can_be_downloaded(open_page, photo, tmp_path, screenshot):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photo, "deep/two.png")
        archive.writestr("bad.jpg", "no image")
    page = open_page()
    batch = tab(page, "Batch")
    batch.locator("input[type=file]").first.set_input_files(str(tmp_path / "photos.zip"))
    batch.get_by_text("photos.zip").first.wait_for()
    batch.get_by_role("button", name="Predict").click()
    table = batch.locator("a[download='expressions.csv']")
    table.wait_for()
    batch.locator("canvas, svg.marks").first.wait_for()
    screenshot(page, "batch")
    with page.expect_download() as download:
        table.click()
    with download.value.path().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows if row["status"] == "ok"] == ["photos.zip/deep/two.png"] * 2
    assert any("bad.jpg" in row["error"] for row in rows)


def test_the_camera_is_shown_with_its_faces_and_rate(open_page, screenshot):
    page = open_page()
    live = tab(page, "Live")
    live.get_by_role("button", name="Access Webcam").click()
    live.get_by_text("Record").click()
    live.get_by_text(re.compile("frames a second")).wait_for()
    live.locator("table.bars").first.wait_for()
    page.wait_for_timeout(3000)
    screenshot(page, "live")
    assert page.problems == []


def test_a_video_gives_a_chart_moments_and_an_outlined_copy_that_plays(open_page, tmp_path, screenshot):
    path = tmp_path / "face.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (480, 480))
    for shift in range(30):
        writer.write(cv2.cvtColor(np.roll(astronaut()[:480, :480], 3 * shift, axis=1), cv2.COLOR_RGB2BGR))
    writer.release()
    page = open_page()
    video = tab(page, "Video")
    video.locator("input[type=file]").first.set_input_files(str(path))
    video.locator("a[download='faces.csv']").wait_for()
    video.get_by_text(re.compile("Happy .*% at")).first.wait_for()
    video.locator("canvas, svg.marks").first.wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('video')].some(video => video.src.includes('faces') && video.duration > 2)"
    )
    page.wait_for_timeout(1000)
    screenshot(page, "video")


def test_two_models_stand_side_by_side(open_page, photo, screenshot):
    page = open_page()
    compare = tab(page, "Compare")
    compare.locator("input[type=file]").first.set_input_files(str(photo))
    compare.get_by_role("button", name="Compare").click()
    compare.locator("table.bars").nth(3).wait_for()
    screenshot(page, "compare")


def test_the_limits_of_the_model_can_be_read(open_page, screenshot):
    page = open_page()
    about = tab(page, "About")
    about.get_by_text("An expression is not a feeling").wait_for()
    assert "macro F1" in about.inner_text() or "F1" in about.inner_text()
    screenshot(page, "about")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(open_page, photo, screenshot, scheme):
    page = open_page(viewport={"width": 375, "height": 800}, color_scheme=scheme, is_mobile=True, has_touch=True)
    upload(page, photo)
    page.locator("table.bars").wait_for()
    images_loaded(panel(page), 6)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    screenshot(page, f"phone_{scheme}")


def test_everything_that_can_be_used_has_a_name_for_screen_readers(open_page, photo):
    page = open_page()
    upload(page, photo)
    page.locator("table.bars").wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input:not([type=file]), select, img')].filter(
            one => one.checkVisibility() && !one.closest('[aria-hidden=true]') && !(one.innerText || one.alt
                || one.ariaLabel || one.title || one.labels?.length || one.getAttribute('aria-labelledby')
                || one.getAttribute('placeholder') || one.querySelector("img:not([alt=''])")))
            .map(one => one.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
