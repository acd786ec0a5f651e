"""Tests of the web page in a real Chromium, its camera fed with a film that is drawn here."""

import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserType, Page, WebSocketRoute, sync_playwright

from browser import CHROMIUM, FLAGS, in_browser
from filmed import Actor, film
from mien.images import write_image
from mien.records import Box
from mien.video.files import VideoCopy
from servers import running

SIZE: Final = (640, 480)
CAST: Final = (
    Actor(2, lambda t: (0.28, 0.5), 0.5, "happiness"),
    Actor(2, lambda t: (0.74, 0.5), 0.42, "surprise"),
)
DRAWN: Final = """() => {
    const canvas = document.getElementById('overlay');
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    const columns = [];
    for (let x = 0; x < width; x++) {
        let count = 0;
        for (let y = 0; y < height; y++) count += data[4 * (y * width + x) + 3] > 60;
        if (count > 0.25 * height) columns.push((x + .5) / width);
    }
    return columns;
}"""
"""Where upright lines are in what is drawn over the picture, as shares of its width."""

DROP: Final = """() => {
    const data = new DataTransfer();
    for (const file of document.getElementById('held').files) data.items.add(file);
    document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
}"""
pytestmark = [pytest.mark.slow, in_browser]


@pytest.fixture(scope="module")
def truth() -> dict[str, Box]:
    """Where the people of the film are."""
    (shot,) = film(CAST, seconds=1, fps=1, size=SIZE, seed=1)
    return {CAST[index].emotion: box for index, box in shot.faces.items()}


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film as a file that Chromium takes for a camera."""
    path = tmp_path_factory.mktemp("camera") / "film.y4m"
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIZE[0]} H{SIZE[1]} F10:1 Ip A1:1 C420jpeg\n".encode())
        for shot in film(CAST, seconds=1, fps=10, size=SIZE, seed=1):
            noisy = shot.pixels + np.random.default_rng(0).normal(0, 2, shot.pixels.shape)
            frame = np.clip(noisy, 0, 255).astype(np.uint8)
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--port", "0", "--rate", "1000", "--model", "base", "--model", "nano")
    with running(tmp_path_factory.mktemp("server"), *options) as (where, _):
        yield where


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def browser(chromium: BrowserType, camera: Path) -> Iterator[Browser]:
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}")
    with chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *fake]) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, opened; it must not complain, nor ask anybody else for anything."""
    context = browser.new_context(permissions=["camera"], viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "blob:")) else wrong.append(asked.url),
    )
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


def faces_of(page: Page) -> str:
    return page.get_attribute("#overlay", "aria-label") or ""


def spoken(page: Page) -> str:
    return page.text_content("#spoken") or ""


def hold(page: Page, *files: Path) -> None:
    """Have files in hand, to drop them."""
    page.evaluate(
        "const held = document.createElement('input');"
        "Object.assign(held, {type: 'file', id: 'held', multiple: true});"
        "document.getElementById('held')?.remove(); document.body.append(held)"
    )
    page.set_input_files("#held", files)


def drop(page: Page, *files: Path) -> None:
    hold(page, *files)
    page.evaluate(DROP)


def wait_for(page: Page, words: str) -> None:
    page.wait_for_function(
        "words => words.split(' ').every(w => "
        "document.getElementById('overlay').ariaLabel.includes(w))",
        arg=words,
        timeout=20_000,
    )


def test_the_camera_is_read_and_the_overlay_lies_on_the_faces(
    page: Page, truth: dict[str, Box]
) -> None:
    page.keyboard.press("c")
    wait_for(page, "happiness surprise")
    for mirrored in (True, False):
        page.wait_for_timeout(300)
        edges = {
            round(abs(mirrored - x / SIZE[0]), 3)
            for box in truth.values()
            for x in (box.x, box.x + box.width)
        }
        drawn = page.evaluate(DRAWN)
        assert all(min(abs(edge - x) for x in drawn) < 0.04 for edge in edges), (edges, drawn)
        page.keyboard.press("m")
    cards = page.locator(".face h3 span").all_inner_texts()
    assert sorted(cards) == ["happiness", "surprise"]
    assert page.locator(".strip").count() == 2
    assert "a second" in page.inner_text("#rate")


def test_pause_goes_on_and_stop_leaves_nothing(page: Page) -> None:
    page.click("#camera")
    wait_for(page, "happiness")
    page.keyboard.press("p")
    page.wait_for_function("() => document.getElementById('pause').textContent === 'Go on'")
    page.click("#pause")
    page.wait_for_function("() => document.getElementById('pause').textContent === 'Pause'")
    page.click("#camera")
    assert page.inner_text("#nobody") == "Nobody yet."
    assert page.is_visible("#empty")
    assert page.locator(".face, .strip").count() == 0
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_a_picture_is_read_and_an_unreadable_one_is_told(
    page: Page, truth: dict[str, Box], tmp_path: Path
) -> None:
    (shot,) = film(CAST[:1], seconds=1, fps=1, size=SIZE, seed=1)
    write_image(tmp_path / "smile.jpg", shot.pixels)
    page.set_input_files("#file", tmp_path / "smile.jpg")
    wait_for(page, "happiness")
    box = truth["happiness"]
    drawn = page.evaluate(DRAWN)
    assert abs(drawn[0] - box.x / SIZE[0]) < 0.04
    assert abs(drawn[-1] - (box.x + box.width) / SIZE[0]) < 0.04
    assert spoken(page) == "face 1: happiness"
    (tmp_path / "broken.tif").write_bytes(b"II*\0 broken")
    # Chromium reports the refusal in its console; that is no fault of the page.
    page.route("**/v1/predict*", _told_as_fine)
    page.set_input_files("#file", tmp_path / "broken.tif")
    page.wait_for_selector("#alert:not([hidden])")
    assert "broken.tif: not a readable image" in page.inner_text("#alert")
    assert (faces_of(page), spoken(page)) == ("no face yet", "")


def _told_as_fine(route: Any) -> None:
    answer = route.fetch()
    assert answer.status == 422
    route.fulfill(response=answer, status=200)


def test_a_picture_that_only_the_server_can_show_is_read_and_that_is_told(
    page: Page, tmp_path: Path
) -> None:
    (shot,) = film(CAST[:1], seconds=1, fps=1, size=SIZE, seed=1)
    write_image(tmp_path / "smile.tif", shot.pixels)
    page.set_input_files("#file", tmp_path / "smile.tif")
    page.wait_for_selector("#alert:not([hidden])")
    assert "cannot show smile.tif: its reading is under Faces" in page.inner_text("#alert")
    assert page.locator(".face h3 span").all_inner_texts() == ["happiness"]
    assert "happiness" in faces_of(page)


def test_who_is_who_is_seen_in_a_picture_of_several(page: Page, tmp_path: Path) -> None:
    (shot,) = film(CAST, seconds=1, fps=1, size=SIZE, seed=1)
    write_image(tmp_path / "two.jpg", shot.pixels)
    page.set_input_files("#file", tmp_path / "two.jpg")
    wait_for(page, "happiness surprise")
    assert re.fullmatch(r"1 +happiness \d+ %, 2 +surprise \d+ %", faces_of(page))
    assert page.locator(".face h3").all_inner_texts() == ["happiness\nface 1", "surprise\nface 2"]


def test_of_several_files_the_first_is_opened_and_that_is_told(page: Page, tmp_path: Path) -> None:
    for actor in CAST:
        (shot,) = film([actor], seconds=1, fps=1, size=SIZE, seed=1)
        write_image(tmp_path / f"{actor.emotion}.png", shot.pixels)
    drop(page, tmp_path / "happiness.png", tmp_path / "surprise.png")
    wait_for(page, "happiness")
    assert "opened 1 of 2:" in page.inner_text("#alert")
    drop(page)
    assert "there is no file in it" in page.inner_text("#alert")
    assert "happiness" in faces_of(page)


def test_another_model_reads_what_is_open(page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    (shot,) = film(CAST[:1], seconds=1, fps=1, size=SIZE, seed=1)
    write_image(tmp_path / "smile.png", shot.pixels)
    page.set_input_files("#file", tmp_path / "smile.png")
    wait_for(page, "happiness")
    page.select_option("#model", "nano")
    wait_for(page, "happiness")
    assert asked[-1] == "predict?model=nano"
    assert page.is_visible("#picture")
    with page.expect_websocket() as first:
        page.keyboard.press("c")
        wait_for(page, "happiness surprise")
    with page.expect_websocket() as second:
        page.select_option("#model", "base")
    assert (first.value.url[-10:], second.value.url[-10:]) == ("model=nano", "model=base")
    wait_for(page, "happiness surprise")
    assert first.value.is_closed()
    assert page.inner_text("#camera") == "Stop camera"


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        (
            "predict*",
            {"status": 413, "body": "<h1>Too large</h1>"},
            "one.png: the server answers 413",
        ),
        ("models", {"status": 429, "json": {"error": "wait 1 s"}}, "wait 1 s"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(
    browser: Browser, address: str, tmp_path: Path, path: str, answer: dict[str, Any], words: str
) -> None:
    write_image(tmp_path / "one.png", np.full((48, 64, 3), 128, np.uint8))
    page = browser.new_page()
    page.route(f"**/v1/{path}", lambda route: route.fulfill(**answer))
    page.goto(address)
    if path != "models":
        page.set_input_files("#file", tmp_path / "one.png")
    page.wait_for_selector("#alert:not([hidden])")
    assert page.inner_text("#alert") == words
    page.close()


def test_a_file_that_is_gone_is_told(browser: Browser, address: str, tmp_path: Path) -> None:
    write_image(tmp_path / "gone.bmp", np.full((48, 64, 3), 128, np.uint8))
    page = browser.new_page()
    page.goto(address)
    hold(page, tmp_path / "gone.bmp")
    (tmp_path / "gone.bmp").unlink()
    page.evaluate(DROP)
    page.wait_for_selector("#alert:not([hidden])")
    assert "gone.bmp: the browser cannot read it" in page.inner_text("#alert")
    page.close()


def test_a_paused_video_gives_its_place_to_others(page: Page, tmp_path: Path) -> None:
    opened: list[WebSocketRoute] = []

    def stream(route: WebSocketRoute) -> None:
        route.connect_to_server()
        opened.append(route)

    page.route_web_socket("**/v1/stream*", stream)
    page.reload()
    with VideoCopy(tmp_path / "clip.webm", rate=2) as copy:
        for number, actor in enumerate(CAST):
            for shot in film([actor], seconds=4, fps=2, size=SIZE, seed=1):
                copy.add(shot.pixels, 4 * number + shot.time_s)
    page.set_input_files("#file", tmp_path / "clip.webm")
    wait_for(page, "happiness")
    page.keyboard.press("p")
    page.wait_for_function("() => document.getElementById('pause').textContent === 'Go on'")
    page.wait_for_timeout(300)
    opened[0].close(code=1000, reason="no frame for 60 s")
    page.wait_for_timeout(300)
    assert len(opened) == 1
    assert not page.is_visible("#alert")
    page.evaluate("document.getElementById('video').currentTime = 7")
    wait_for(page, "surprise")
    assert len(opened) == 2


def test_that_there_is_no_face_is_spoken_of_every_picture(page: Page, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        write_image(tmp_path / name, np.full((480, 640, 3), 128, np.uint8))
        page.set_input_files("#file", tmp_path / name)
        wait_for(page, "no face found")
        assert spoken(page) == "no face found"


def test_a_dropped_video_is_watched(page: Page, tmp_path: Path) -> None:
    with VideoCopy(tmp_path / "clip.webm", rate=10) as copy:
        for shot in film(CAST[1:], seconds=3, fps=10, size=SIZE, seed=1):
            copy.add(shot.pixels, shot.time_s)
    drop(page, tmp_path / "clip.webm")
    wait_for(page, "surprise")
    assert page.locator(".strip").count() == 1
    assert page.is_disabled("#mirror")


def test_after_a_jump_the_frame_that_is_seen_is_read(page: Page, tmp_path: Path) -> None:
    """Paused, too: else the names of one moment stand on the picture of another."""
    # Long enough that a slow machine reads the first scene before the second begins.
    scene_s = 30
    with VideoCopy(tmp_path / "clip.webm", rate=2) as copy:
        for number, actor in enumerate(CAST):
            for shot in film([actor], seconds=scene_s, fps=2, size=SIZE, seed=1):
                copy.add(shot.pixels, scene_s * number + shot.time_s)
    page.set_input_files("#file", tmp_path / "clip.webm")
    wait_for(page, "happiness")
    page.keyboard.press("p")
    page.wait_for_function("() => document.getElementById('pause').textContent === 'Go on'")
    page.evaluate("document.getElementById('video').currentTime = 45")
    wait_for(page, "surprise")
    assert "happiness" not in faces_of(page)
    assert page.evaluate("document.getElementById('video').paused")


def test_a_video_without_a_picture_is_told(page: Page, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8_000 * 5))
    (tmp_path / "sound.wav").rename(tmp_path / "sound.mp4")
    page.set_input_files("#file", tmp_path / "sound.mp4")
    page.wait_for_selector("#alert:not([hidden])")
    assert "this browser cannot play sound.mp4" in page.inner_text("#alert")
    assert page.is_visible("#empty")


def test_everything_is_reached_by_keyboard_and_fits_a_phone(page: Page) -> None:
    reached = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"camera", "open"} <= reached
    for width in (320, 390, 820, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


def test_no_camera_and_no_server_are_told(chromium: BrowserType, tmp_path: Path) -> None:
    with (
        chromium.launch(executable_path=CHROMIUM, args=list(FLAGS)) as browser,
        running(tmp_path, "--port", "0") as (where, server),
    ):
        page = browser.new_page()
        page.goto(where)
        (shot,) = film(CAST[:1], seconds=1, fps=1, size=SIZE)
        write_image(tmp_path / "smile.jpg", shot.pixels)
        page.set_input_files("#file", tmp_path / "smile.jpg")
        wait_for(page, "happiness")
        page.click("#camera")
        page.wait_for_selector("#alert:not([hidden])")
        assert "there is no camera" in page.inner_text("#alert")
        assert (faces_of(page), spoken(page)) == ("no face yet", "")
        with VideoCopy(tmp_path / "clip.webm", rate=10) as copy:
            for shot in film(CAST[:1], seconds=30, fps=10, size=SIZE):
                copy.add(shot.pixels, shot.time_s)
        page.set_input_files("#file", tmp_path / "clip.webm")
        wait_for(page, "happiness")
        server.kill()
        server.wait()
        page.wait_for_selector("#alert:not([hidden])")
        assert "the server does not answer; trying again" in page.inner_text("#alert")
        assert faces_of(page) == "no face yet", "the picture goes on, and its reading does not"
        page.set_input_files("#file", tmp_path / "smile.jpg")
        page.wait_for_function(
            "() => document.getElementById('alert').textContent.includes('serve')"
        )
