"""The page of a listening test in headless Chromium, from consent to download, from disk and from the server."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from browsers import Listener, find_browser
from listeners import a_test
from patience import HUNG_S, wait_until
from vqspeech.listening.answers import Results
from vqspeech.listening.design.folder import answers_path
from vqspeech.listening.kinds import KINDS
from vqspeech.listening.serving.answer_store import AnswerStore, check_answer

BROWSER, REASON = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason=REASON)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root Chromium has no sandbox; it only opens our own page here.
        options = ["--mute-audio", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        running = playwright.chromium.launch(executable_path=BROWSER, args=options, timeout=1000 * HUNG_S)
        yield running
        running.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A test of each kind, made when first asked for."""
    made = {}

    def of_kind(kind):
        if kind not in made:
            made[kind] = a_test(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return of_kind


@pytest.fixture
def listen(browser):
    """A function that lets somebody open an address; a page that had an error fails the test."""
    listeners = []

    def come(address: str, **options) -> Listener:
        context = browser.new_context(viewport={"width": 900, "height": 700}, **options)
        context.set_default_timeout(1000 * HUNG_S)
        listeners.append(Listener(context, address))
        return listeners[-1]

    yield come
    for listener in listeners:
        listener.context.close()
        assert listener.problems == []


class Server:
    """`vqspeech listening-test serve` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", "from vqspeech.cli.main import main; main()", "listening-test", "serve"]
        command += [str(self.folder), "--port", self.port, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.address
        self.port = self.address.removeprefix("http://127.0.0.1:").partition("/")[0]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def served(exported):
    """A function that serves a test of a kind; its answers are removed afterwards."""
    servers = []

    def serve(kind: str, *options: str) -> Server:
        servers.append(Server(exported(kind).folder, *options))
        return servers[-1]

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.kill()
        for path in server.folder.parent.glob("*.sqlite*"):
            path.unlink()


def kept(server: Server, key) -> list[Results]:
    store = AnswerStore(answers_path(server.folder), key)
    try:
        return store.results()
    finally:
        store.close()


# From disk


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_leads_from_consent_to_results_that_can_be_read(exported, listen, kind):
    key = exported(kind).key
    somebody = listen(f"file://{exported(kind).folder}/index.html?place=1")
    somebody.next.click()
    assert somebody.heading == "Welcome"  # no consent, no test
    somebody.consent()
    pages = 0
    while not somebody.is_done:
        assert somebody.next.is_disabled()
        somebody.answer(pages % 2)
        assert somebody.next.is_disabled()  # nothing was heard yet
        sounds = somebody.page.locator(".play").count()
        for number in range(sounds):
            assert somebody.next.is_disabled()
            somebody.hear(number)
        somebody.go_on()
        pages += 1
    results = Results.model_validate_json(somebody.download("JSON").text)
    assert (results.test, results.kind, results.place) == (key.test, kind, 1)
    assert results.consented and results.finished and pages == len(key.orders[1])
    assert [answer.trial for answer in results.answers] == list(key.orders[1])
    for answer in results.answers:
        check_answer(key, 1, answer)
        assert answer.milliseconds > 100  # all sounds of the page
    table = list(csv.DictReader(io.StringIO(somebody.download("CSV").text)))
    expected = [
        (a.trial, stimulus, f"{rating:g}" if rating else "", a.choice or "")
        for a in results.answers for stimulus, rating in (a.ratings or {"": None}).items()
    ]  # fmt: skip
    assert [(row["trial"], row["stimulus"], row["rating"], row["choice"]) for row in table] == expected


def test_after_a_reload_in_the_middle_the_test_goes_on_where_it_stopped(exported, listen):
    somebody = listen(f"file://{exported('mos').folder}/index.html")
    somebody.consent()
    somebody.do_page()
    before = somebody.stored()
    assert somebody.heading == "Page 2"
    somebody.page.reload()
    assert somebody.heading == "Page 2" and somebody.next.is_disabled()
    assert somebody.stored() == before
    while not somebody.is_done:
        somebody.do_page()
    results = Results.model_validate_json(somebody.download("JSON").text)
    assert results.finished and results.listener == before["listener"]


def test_a_comment_that_is_a_script_stays_text_everywhere(exported, listen):
    somebody = listen(f"file://{exported('mos').folder}/index.html")
    somebody.page.on("dialog", lambda dialog: somebody.problems.append("a script ran"))
    somebody.consent()
    comment = '=1+1 <script>alert(1)</script> "quoted" <img src=x onerror=alert(1)>'
    somebody.page.locator("summary").click()
    somebody.page.fill("#comment", comment)
    while not somebody.is_done:
        somebody.do_page()
    assert Results.model_validate_json(somebody.download("JSON").text).answers[0].comment == comment
    row = next(csv.DictReader(io.StringIO(somebody.download("CSV").text)))
    assert row["comment"] == "'" + comment  # a spreadsheet does not take it for a formula


def test_a_sound_that_is_missing_is_told_and_holds_the_page(exported, listen, tmp_path):
    folder = a_test(tmp_path, "mos").folder
    somebody = listen(f"file://{folder}/index.html")
    somebody.consent()
    for path in (folder / "sounds").iterdir():
        path.rename(path.with_suffix(".away"))
    somebody.page.reload()
    somebody.page.locator(".play").click()
    somebody.page.locator(".problem", has_text="could not be played").wait_for()
    somebody.answer()
    assert somebody.next.is_disabled()
    for path in (folder / "sounds").iterdir():
        path.rename(path.with_suffix(".wav"))
    somebody.hear(0)  # the button tries again
    assert somebody.next.is_enabled()


def test_the_keyboard_alone_is_enough_and_every_control_has_a_name(exported, listen):
    somebody = listen(f"file://{exported('mushra').folder}/index.html")
    keyboard = somebody.page.keyboard

    def focused() -> str:
        return somebody.page.evaluate(
            "() => { const e = document.activeElement; return `${e.tagName} ${e.className} ${e.type || ''}`; }"
        )

    def tab_to(what: str) -> None:
        for _ in range(40):
            keyboard.press("Tab")
            if what in focused():
                return
        pytest.fail(f"{what} cannot be reached with Tab: {focused()}")

    assert focused().startswith("H1")  # reading begins at the heading
    tab_to("checkbox")
    keyboard.press("Space")
    tab_to("next")
    keyboard.press("Enter")
    somebody.page.locator("h1", has_text="Set your volume").wait_for()
    tab_to("play")
    keyboard.press("Space")
    somebody.page.locator(".heard").wait_for(state="visible")
    tab_to("next")
    keyboard.press("Enter")
    tab_to("next")
    keyboard.press("Enter")
    while not somebody.is_done:
        assert focused().startswith("H1")
        count = somebody.page.locator("#count").inner_text()
        for number in range(somebody.page.locator(".play").count()):
            tab_to("play")
            keyboard.press("Space")
            somebody.page.locator(".play").nth(number).locator(".heard").wait_for(state="visible")
            if number:  # the reference has no slider
                tab_to("range")
                keyboard.press("ArrowRight")
        tab_to("next")
        keyboard.press("Enter")
        somebody.page.wait_for_selector(f"#outcome, #count:not(:text-is('{count}'))", state="attached")
    tab_to("BUTTON")
    with somebody.page.expect_download() as download:
        keyboard.press("Enter")
    results = Results.model_validate_json(Path(download.value.path()).read_text())
    assert results.finished
    assert {rating for answer in results.answers for rating in answer.ratings.values()} == {51}


@pytest.mark.parametrize("kind", ["abx", "mushra"])
def test_screen_readers_get_a_name_for_every_control_and_phones_a_page_as_wide_as_they_are(exported, listen, kind):
    somebody = listen(f"file://{exported(kind).folder}/index.html", device_scale_factor=2)
    somebody.page.set_viewport_size({"width": 360, "height": 700})
    somebody.consent()
    tree = somebody.page.locator("body").aria_snapshot()
    assert 'heading "Practice"' in tree and 'progressbar "Progress of the test"' in tree
    if kind == "abx":
        assert 'group "Whose voice is X?"' in tree and 'radio "A"' in tree
    else:
        assert 'slider "Rating of A"' in tree and 'group "Version A"' in tree
    unnamed = [line for line in tree.splitlines() if line.strip() in ("- button", "- radio", "- slider", "- textbox")]
    assert unnamed == []
    widths = somebody.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    for box in somebody.page.locator("button:visible, .radio").all():
        assert box.bounding_box()["height"] >= 44  # a finger's width


# From the server


def test_two_listeners_at_once_have_places_and_answers_of_their_own(exported, served, listen):
    key = exported("mos").key
    server = served("mos")
    both = [listen(server.address), listen(server.address)]
    for somebody in both:
        somebody.consent()
    for _ in key.orders[0]:
        for number, somebody in enumerate(both):
            somebody.do_page(choice=number)
    for somebody in both:
        somebody.page.locator("#outcome", has_text="have been stored").wait_for()
    results = kept(server, key)
    assert [r.place for r in results] == [0, 1] and all(r.finished for r in results)
    assert {r.listener for r in results} == {somebody.stored()["listener"] for somebody in both}
    for number, somebody in enumerate(both):
        own = Results.model_validate_json(somebody.download("JSON").text)
        assert own in results
        assert {rating for answer in own.answers for rating in answer.ratings.values()} == {5 - number}


def test_a_killed_server_has_lost_nothing_acknowledged_and_the_page_sends_the_rest(exported, served, listen):
    key = exported("preference").key
    server = served("preference")
    somebody = listen(server.address)
    somebody.consent()
    somebody.do_page()
    wait_until(lambda: somebody.stored()["sent"] == 1)
    server.kill()
    (before,) = kept(server, key)
    assert len(before.answers) == 1 and not before.finished
    somebody.do_page()  # nobody is there: the page keeps the answer, and tries again
    somebody.page.locator("#sending", has_text="still to be sent").wait_for()
    assert somebody.stored()["sent"] == 1
    server.start()
    while not somebody.is_done:
        somebody.do_page()
    somebody.page.locator("#outcome", has_text="have been stored").wait_for()
    (after,) = kept(server, key)
    assert after.finished and after.answers[0] == before.answers[0]
    assert after == Results.model_validate_json(somebody.download("JSON").text)


def test_a_link_with_the_token_lets_in_and_one_without_does_not(exported, served, listen):
    server = served("mos", "--token", "a-long-token")
    assert server.address.endswith("/?token=a-long-token")
    stranger = listen(server.address.partition("?")[0])
    assert "can only be opened with the link" in stranger.page.inner_text("body")
    somebody = listen(server.address)
    somebody.consent()
    assert somebody.heading == "Practice"
