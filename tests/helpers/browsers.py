"""The distribution's Chromium for tests, driven by Playwright; a reason where there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "VQSPEECH_TEST_BROWSER"


def find_browser() -> tuple[str | None, str]:
    """Path of a Chromium, or None and the reason why there is none to test with."""
    if importlib.util.find_spec("playwright") is None:
        return None, "playwright is not installed: pip install -c constraints.txt -e '.[dev]'"
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    return found, f"no Chromium found ({', '.join(NAMES)}): apt-get install chromium, or name one in {VARIABLE}"


class Listener:
    """Somebody who takes part in a listening test, in a browser window of their own."""

    def __init__(self, context, address: str) -> None:
        self.context, self.address = context, address
        self.page = context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.note(message))
        self.page.goto(address)

    def note(self, message) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    @property
    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    @property
    def next(self):
        return self.page.locator(".next")

    def consent(self) -> None:
        """From the consent to the practice page."""
        self.page.check("#consent")
        self.next.click()
        self.page.locator("h1", has_text="Set your volume").wait_for()
        self.hear(0)
        self.next.click()
        self.next.click()
        self.page.locator("h1", has_text="Practice").wait_for()

    def hear(self, number: int) -> None:
        """Play one of the page's sounds to its end."""
        button = self.page.locator(".play").nth(number)
        button.click()
        button.locator(".heard").wait_for(state="visible")

    def hear_all(self) -> None:
        for number in range(self.page.locator(".play").count()):
            self.hear(number)

    def answer(self, choice: int = 0) -> None:
        sliders = self.page.locator("input[type=range]")
        for number in range(sliders.count()):
            sliders.nth(number).fill(str(90 - 10 * number))
        if not sliders.count():
            self.page.locator(".radio").nth(choice).click()

    def go_on(self) -> None:
        """To the next page, which is another one."""
        before = self.page.locator("#count").inner_text()
        self.next.click()
        self.page.wait_for_selector(f"#outcome, #count:not(:text-is('{before}'))", state="attached")

    def do_page(self, choice: int = 0) -> None:
        self.hear_all()
        self.answer(choice)
        self.go_on()

    @property
    def is_done(self) -> bool:
        return self.page.locator("#outcome").count() > 0

    def download(self, kind: str) -> SimpleNamespace:
        with self.page.expect_download() as download:
            self.page.locator("button", has_text=kind).click()
        path = Path(download.value.path())
        return SimpleNamespace(name=download.value.suggested_filename, text=path.read_bytes().decode("utf-8"))

    def stored(self) -> dict:
        """What the browser has stored of the test."""
        return self.page.evaluate("() => JSON.parse(Object.values(localStorage)[0])")
