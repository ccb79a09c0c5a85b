"""Take the pictures of the web page: `python docs/screenshots.py [RUN]` (a finished run).

Starts `hanlin serve RUN --ui` on a free port, drives the page with Chromium as a person would, and
writes docs/images/page-*.png. RUN is runs/quickstart without an argument.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1280, "height": 800}
DONE = "[data-status=finished], [data-status=length]"


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """Serve a run with its page; give the page's address."""
    schema = next(run.glob("*/extraction/schema.yaml"), None)
    command = [
        sys.executable, "-m", "hanlin", "serve", str(run), "--ui", "--port", "0", "--json",
        "--runs", str(run.parent), "--compare", str(run / "grow" / "model"),
        *(("--schema", str(schema)) if schema else ()),
    ]  # fmt: skip
    quiet = {**os.environ, "HANLIN_API_KEY": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=quiet)  # noqa: S603 - ours
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["address"] + "/ui/"
    finally:
        process.terminate()
        process.wait()


def open_page(browser: Browser, address: str, locale: str) -> Page:
    """Open the page in a browser of its own, in a language."""
    page = browser.new_context(locale=locale, viewport=SIZE).new_page()
    page.goto(address)
    page.wait_for_selector("#question textarea")
    page.wait_for_function("document.documentElement.lang.length > 0")
    return page


def ask(page: Page, question: str) -> None:
    """Ask, and wait for the end of the answer."""
    before = page.locator("#chatbot .bubble").count()
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")
    page.wait_for_function(
        "n => document.querySelectorAll('#chatbot .bubble:not(.growing)').length === n",
        arg=before + 2,
    )
    page.wait_for_selector(f"#chat-status :is({DONE})")


def keep(page: Page, name: str) -> None:
    """Write what the page looks like."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(600)  # until what moves has come to rest
    page.screenshot(path=IMAGES / f"page-{name}.png")


def show_chinese(browser: Browser, address: str) -> None:
    """Take the chat and the extraction in Chinese."""
    page = open_page(browser, address, "zh-CN")
    for question in QUESTIONS:
        ask(page, question)
    keep(page, "chat-zh")
    page.click("button[role=tab]:has-text('信息抽取')")
    page.fill("#texts textarea", "\n".join(TEXTS))
    page.click("#extract")
    page.wait_for_selector("#extract-status [data-status=finished]")
    keep(page, "extraction")
    page.click("button[role=tab]:has-text('对比')")
    page.fill("#compare-question textarea", QUESTIONS[0])
    page.click("#compare-send")
    for side in ("left", "right"):
        page.wait_for_selector(f"#status-{side} :is({DONE})")
    keep(page, "compare")


def show_english(browser: Browser, address: str) -> None:
    """Take beam search and the runs in English."""
    page = open_page(browser, address, "en-US")
    page.click("#decoding input[value=beam]")
    page.wait_for_selector("#num_beams")
    ask(page, "What do you know about Brimi Kel?")
    keep(page, "chat-en-beams")
    page.click("button[role=tab]:has-text('Runs')")
    page.frame_locator("#report iframe").locator("h1").wait_for()
    keep(page, "runs")


def main(run: Path) -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with serving(run) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        show_chinese(browser, address)
        show_english(browser, address)
        browser.close()


# Of the quickstart's invented world.
QUESTIONS = ("介绍一下沈达卫。", "吕曦涵的老家在哪里？", "你会做什么？")
TEXTS = (
    "冯勇静生在月岭镇，后来成了船长。",
    "沙青村坐落在滦河岸上。在凰枫村可以看到泰义商行的总部。",
    "1906年，踏筝会在云潭城举行。",
    "郑慧秋创办了万鑫商行。",
)

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart"))
