"""The running app, used through its API as programs use it."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import cv2
import httpx
import numpy as np
import pandas as pd
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from huggingface_hub import metadata_load
from matplotlib.cbook import get_sample_data
from PIL import Image
from skimage.data import astronaut, coffee

from benchmarks.app_load import running_app
from involvit import Predictor
from involvit.app.models import settings
from involvit.app.photo import bars_of_face
from involvit.prediction.classifier import load_classifier
from involvit.prediction.explanation import explain
from involvit.prediction.face_detection import Face, align_face
from modeling_involvit import LABELS

ROOT = Path(__file__).parents[1]
FACE = astronaut()[20:220, 130:330]  # hers, as the whole image


@pytest.fixture(scope="module")
def url():
    with running_app() as (url, _):
        yield url


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture
def save(tmp_path):
    def save(pixels, name="photo.jpg", **options):
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(tmp_path / name, **options)
        return handle_file(str(tmp_path / name))

    return save


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "smile.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (256, 256))
    for shift in range(12):
        frame = np.roll(astronaut()[:256, 100:356], 2 * shift, axis=1)
        writer.write(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def refused(client, *arguments, **options):
    with pytest.raises(AppError) as error:
        client.predict(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message and "Traceback" not in message and "/tmp" not in message
    return message


# --- Photo ---


def test_a_photo_is_answered_as_the_predictor_answers_it(client, save):
    outlined, faces = client.predict(save(astronaut(), "photo.png"), False, api_name="/photo")
    (expected,) = Predictor(faces=True)(astronaut())
    (face,) = faces
    assert face["label"] == expected.label == "Happy"
    assert face["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)
    assert face["box"] == pytest.approx(expected.box, abs=0.1)
    picture = np.asarray(Image.open(outlined))
    assert picture.shape == astronaut().shape
    difference = np.abs(picture.astype(int) - astronaut()).max(axis=2) > 60
    x, y, _, height = face["box"]
    assert difference[int(y) : int(y + height), int(x) - 2 : int(x) + 3].any()
    assert not difference[300:, :100].any()


def test_the_whole_image_is_the_face_where_it_is_said_to_be(client, save):
    _, (face,) = client.predict(save(FACE, "face.png"), True, api_name="/photo")
    (expected,) = Predictor()(FACE)
    assert face["box"] is None
    assert face["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)


def test_several_faces_come_largest_first_and_each_can_be_explained(client, save):
    with get_sample_data("grace_hopper.jpg") as file:
        officer = np.asarray(Image.open(file).convert("RGB"))[:512, :]
    both = np.concatenate([astronaut(), officer], axis=1)
    photo = save(both)
    _, faces = client.predict(photo, False, api_name="/photo")
    areas = [face["box"][2] * face["box"][3] for face in faces]
    assert len(faces) == 2 and areas == sorted(areas, reverse=True)
    classifier = load_classifier()
    for number in (1, 2):
        face, crop, *maps = client.predict(photo, False, number, api_name="/explain")
        assert face == faces[number - 1]
        shown = np.asarray(Image.open(crop).convert("RGB")).astype(int)
        x, y, width, height = map(int, face["box"])
        found = cv2.resize(both[max(0, y) : y + height, x : x + width], shown.shape[:2])
        assert np.corrcoef(shown.ravel(), found.ravel())[0, 1] > 0.5
        assert len(maps) == 3 and all(Image.open(picture).size == shown.shape[:2] for picture in maps)
        # A map on which nothing speaks for the label leaves the face as it is; all others are pictures of their own.
        aligned = align_face(np.asarray(Image.open(photo["path"])), Face(tuple(face["box"])), classifier.image_size)
        heats = explain(classifier, aligned, face["label"])
        assert sum(heat.any() for heat in heats.values()) >= 2
        for picture, heat in zip(maps, heats.values(), strict=True):
            assert (Path(picture).read_bytes() != Path(crop).read_bytes()) == heat.any()
        speaking = [picture for picture, heat in zip(maps, heats.values(), strict=True) if heat.any()]
        assert len({Path(picture).read_bytes() for picture in speaking}) == len(speaking)


def test_an_explanation_needs_no_question_before_it(url, save):
    face, *pictures = Client(url, verbose=False).predict(save(FACE), True, 1, api_name="/explain")
    assert face["face"] == 1 and len(pictures) == 4


def test_a_photo_without_a_face_has_none_and_nothing_to_explain(client, save):
    photo = save(np.full((300, 300, 3), 127, np.uint8))
    assert client.predict(photo, False, api_name="/photo")[1] == []
    assert "whole image" in refused(client, photo, False, 1, api_name="/explain")
    assert "no face 7" in refused(client, save(FACE), True, 7, api_name="/explain")


def test_without_a_photo_there_is_nothing_to_tell(client):
    assert client.predict(None, False, api_name="/photo") == (None, None)
    assert client.predict(None, False, 1, api_name="/explain") == (None,) * 5


def test_unusual_images_are_answered_like_usual_ones(client, save):
    _, expected = client.predict(save(FACE, "rgb.png"), True, api_name="/photo")
    label = expected[0]["label"]
    image = Image.fromarray(FACE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    for photo in (
        save(image.convert("CMYK"), "cmyk.jpg"),
        save(image.rotate(90, expand=True), "turned.jpg", exif=exif, quality=95),
        save(image, "animated.gif", save_all=True, append_images=[Image.new("RGB", image.size)]),
        save(image.convert("RGBA"), "transparent.webp"),
    ):
        _, (face,) = client.predict(photo, True, api_name="/photo")
        assert face["label"] == label, photo
    _, grey = client.predict(save(image.convert("L"), "grey.png"), True, api_name="/photo")
    _, deep = client.predict(save(grey16, "deep.png"), True, api_name="/photo")
    assert deep[0]["probabilities"] == pytest.approx(grey[0]["probabilities"], abs=1e-3)


def test_what_is_no_photo_is_refused_in_one_friendly_line_and_the_app_goes_on(client, save, tmp_path):
    broken = {"text.jpg": b"hello", "empty.png": b"", "cut.jpg": None}
    save(astronaut(), "cut.jpg")
    broken["cut.jpg"] = (tmp_path / "cut.jpg").read_bytes()[:2000]
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        for endpoint in ("/photo", "/compare"):
            more = () if endpoint == "/photo" else ("involvit-tiny", "involvit-tiny")
            message = refused(client, handle_file(str(tmp_path / name)), False, *more, api_name=endpoint)
            assert name in message
    assert refused(client, save(FACE[:3, :3], "tiny.png"), True, api_name="/photo")
    huge = save(Image.new("1", (9000, 9000)), "huge.png")
    assert "huge.png" in refused(client, huge, False, api_name="/photo")
    assert "first" in refused(client, None, False, "involvit-tiny", "involvit-tiny", api_name="/compare")
    assert client.predict(save(FACE), True, api_name="/photo")[1]


# --- Live, video ---


def test_a_frame_of_a_camera_is_outlined_and_tracked(client, save):
    for _ in range(2):
        html, faces = client.predict(save(astronaut()), api_name="/live")
    assert [(face["face"], face["label"]) for face in faces] == [(1, "Happy")]
    assert "data:image/jpeg;base64," in html and "frames a second" in html


def test_a_video_gives_a_table_of_its_frames_an_outlined_copy_and_the_strongest_moments(client, video):
    annotated, table, moments, faces = client.predict(handle_file(str(video)), api_name="/video")
    rows = pd.read_csv(table)
    assert set(LABELS) <= set(rows.columns)
    assert rows["label"].eq("Happy").mean() > 0.5
    assert rows[list(LABELS)].sum(axis=1).to_numpy() == pytest.approx(1, abs=0.01)
    assert rows["time_s"].is_monotonic_increasing and rows["time_s"].max() == pytest.approx(1.1, abs=0.11)
    annotated = annotated["video"] if isinstance(annotated, dict) else annotated
    capture = cv2.VideoCapture(annotated)
    assert capture.isOpened() and capture.read()[0]
    assert len(moments) <= 7 and any("Happy" in moment["caption"] for moment in moments)
    assert faces[0]["face"] == 1


def test_what_is_no_video_is_refused(client, tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    assert "text.mp4" in refused(client, handle_file(str(tmp_path / "text.mp4")), api_name="/video")
    assert "first" in refused(client, None, api_name="/video")


# --- Batch, compare ---


def test_a_batch_of_files_and_archives_has_a_row_for_each_face_and_each_failure(client, save, tmp_path):
    save(FACE, "a.png"), save(coffee(), "coffee.jpg")
    (tmp_path / "bad.jpg").write_text("no image")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "deep/b.png")
        archive.writestr("readme.txt", "hello")
    files = [handle_file(str(tmp_path / name)) for name in ("a.png", "bad.jpg", "photos.zip")]
    shown, histogram, csv, as_json = client.predict(files, True, api_name="/batch")
    table = pd.read_csv(csv)
    good = table[table["status"] == "ok"]
    assert good["file"].tolist()[:2] == ["a.png", "photos.zip/deep/b.png"]
    (expected,) = Predictor()(FACE)
    for label, probability in expected.probabilities.items():
        assert good[label].to_numpy() == pytest.approx(probability, abs=1e-3)
    (bad,) = table[table["status"] == "unreadable"].to_dict("records")
    assert bad["file"] == "bad.jpg" and "bad.jpg" in bad["error"] and "/" not in bad["error"]
    records = json.loads(Path(as_json).read_text())
    assert [record["file"] for record in records] == table["file"].tolist() == [row[0] for row in shown["data"]]
    counts = {row[0]: row[1] for row in histogram["plot"]["data"]} if "plot" in histogram else None
    assert counts is None or counts[expected.label] == len(good)


def test_a_batch_of_nothing_and_an_archive_that_leads_outside_are_refused(client, tmp_path):
    with zipfile.ZipFile(tmp_path / "outside.zip", "w") as archive:
        archive.writestr("../../outside.png", b"")
    assert "outside.zip" in refused(client, [handle_file(str(tmp_path / "outside.zip"))], True, api_name="/batch")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "empty.zip" in refused(client, [handle_file(str(tmp_path / "empty.zip"))], False, api_name="/batch")
    assert "first" in refused(client, [], False, api_name="/batch")


def test_two_models_are_asked_for_the_same_photo(client, save):
    answers = client.predict(save(FACE), True, "involvit-tiny", "checkpoints/involvit-tiny", api_name="/compare")
    assert [answer["model"] for answer in answers] == ["involvit-tiny", "checkpoints/involvit-tiny"]
    assert answers[0]["faces"] == answers[1]["faces"] != []


def test_a_model_that_is_not_there_is_refused(client, save):
    message = refused(client, save(FACE), True, "involvit-tiny", "nobody/nothing", api_name="/compare")
    assert "nobody/nothing" in message
    for name in ("a" * 500, "a" * 5000, "a " * 3000, ["involvit-tiny"], 5):
        assert len(refused(client, save(FACE), True, "involvit-tiny", name, api_name="/compare")) <= 501


def test_what_does_not_fit_the_api_is_refused(client, save):
    for number in ("abc", [1], 10**4000):
        assert len(refused(client, save(FACE), True, number, api_name="/explain")) <= 501


# --- The app as a whole ---


def test_the_page_begins_with_examples_and_without_empty_boxes(url):
    config = httpx.get(f"{url}/config").json()
    components = {component["id"]: component for component in config["components"]}
    seen = []

    def see(node):
        props = components[node["id"]]["props"] if node["id"] in components else {}
        if props.get("visible", True) is True:
            seen.append(node["id"])
            for child in node.get("children") or ():
                see(child)

    see(config["layout"])
    boxes = ("image", "gallery", "video", "file", "dataframe", "barplot", "lineplot", "nativeplot")
    shown = [components[number] for number in seen if number in components]
    results = [one for one in shown if one["type"] in boxes and one["props"].get("interactive") is False]
    assert results == [] and not [one for one in shown if one["type"] in ("gallery", "nativeplot", "dataframe")]
    (gallery,) = (one["props"] for one in shown if one["type"] == "dataset")
    assert len(gallery["samples"]) == 4
    for (sample,) in gallery["samples"]:
        photo = {"path": sample["path"], "meta": {"_type": "gradio.FileData"}}
        assert httpx.get(f"{url}/gradio_api/file={sample['path']}").headers["content-type"] == "image/png"
        call = httpx.post(f"{url}/gradio_api/call/photo", json={"data": [photo, False]}).json()
        answer = httpx.get(f"{url}/gradio_api/call/photo/{call['event_id']}", timeout=60).text
        assert '"label"' in answer and "event: error" not in answer

    text = json.dumps([one["props"].get("value") for one in shown if one["type"] == "markdown"])
    assert "about 6 of 10 people would say Happy" in text  # the default model learned from votes


def test_every_endpoint_is_documented(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/photo", "/explain", "/live", "/video", "/batch", "/compare"}
    assert all(len(endpoint["description"]) > 20 for endpoint in endpoints.values())


def test_every_endpoint_is_a_tool_for_agents(url):
    tools = httpx.get(f"{url}/gradio_api/mcp/schema").json()
    assert {tool["name"].rpartition("_")[2] for tool in tools} == {
        "photo",
        "explain",
        "live",
        "video",
        "batch",
        "compare",
    }
    assert all(len(tool["description"]) > 20 for tool in tools)


@pytest.mark.parametrize("marks", [{"meta": {"_type": "gradio.FileData"}}, {}])
@pytest.mark.parametrize(("endpoint", "more"), [("photo", [True]), ("live", [])])
def test_a_file_of_the_server_is_not_taken_for_a_photo(url, marks, endpoint, more):
    path = str(ROOT / "docs" / "rendered_faces.jpg")
    call = httpx.post(f"{url}/gradio_api/call/{endpoint}", json={"data": [{"path": path, **marks}, *more]}).json()
    assert (
        "not uploaded by a user" in httpx.get(f"{url}/gradio_api/call/{endpoint}/{call['event_id']}", timeout=60).text
    )
    assert httpx.get(f"{url}/gradio_api/file={path}").status_code == 403


def test_files_of_a_session_go_with_it(url, save):
    visitor = Client(url, verbose=False, download_files=False)
    outlined, _ = visitor.predict(save(astronaut(), "of_a_visitor.jpg"), False, api_name="/photo")
    result = Path(outlined["path"])
    everything = result.parents[3]
    assert result.exists() and list(everything.glob("uploads/*/of_a_visitor.jpg"))
    visitor.close()
    deadline = time.monotonic() + 60
    while result.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not result.exists()
    assert not list(everything.glob("uploads/*/of_a_visitor.jpg"))


def test_a_space_installs_what_the_package_and_its_app_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["app"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert sorted(line for line in lines if not line.startswith("#")) == sorted(needed)


def test_the_readme_tells_a_space_what_to_run():
    metadata = metadata_load(ROOT / "README.md")
    assert metadata["sdk"] == "gradio" and (ROOT / metadata["app_file"]).exists()
    assert (
        f"gradio[mcp]>={re.match(r'[0-9]+[.][0-9]+', metadata['sdk_version'])[0]}"
        in (ROOT / "requirements.txt").read_text().splitlines()
    )
    assert len(metadata["short_description"]) <= 60


@pytest.mark.parametrize("arguments", [["--model", "nowhere/at/all"], ["--face_detector", "nowhere.onnx"]])
def test_a_model_or_detector_that_is_not_there_ends_in_one_line(arguments):
    result = subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: nowhere")


def test_on_a_gpu_space_the_networks_run_where_the_gpu_is(tmp_path):
    (tmp_path / "spaces.py").write_text("def GPU(function):\n    function.on_gpu = True\n    return function\n")
    code = "from involvit.app.models import classify, heat_maps; print(classify.on_gpu, heat_maps.on_gpu)"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]


def test_a_probability_is_told_as_a_share_of_people_only_where_the_model_learned_from_votes(tmp_path, monkeypatch):
    reports = {"votes": '{"run": {"votes": true}}', "labels": '{"run": {}}', "foreign": "[]", "none": None}
    face = {"face": 1, "label": "Happy", "score": 0.62, "probabilities": {"Happy": 0.62, "Sad": 0.38}}
    tells = []
    for name, report in reports.items():
        (tmp_path / name).mkdir()
        if report is not None:
            (tmp_path / name / "report.json").write_text(report)
        monkeypatch.setattr(settings, "models", [str(tmp_path / name)])
        tells.append("About 6 of 10 people would say Happy." in bars_of_face(face))
    assert tells == [True, False, False, False]
