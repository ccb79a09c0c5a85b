"""Does the page work in a real browser, by itself, with types that can be hidden?"""

from pathlib import Path

import pytest

from hanlin.extraction.html import page

CHROMIUM = Path("/usr/bin/chromium")


def test_the_page_asks_for_nothing(example):
    html = page([example], title="t")
    for outside in ("http:", "https:", "src=", "<script", "@import", "url("):
        assert outside not in html
    assert html.count('type="checkbox"') == 3


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium on this machine")
def test_types_are_hidden_and_shown_in_a_browser(example, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    (tmp_path / "page.html").write_text(page([example], title="翰林"), encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab = browser.new_page()
        requests = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((tmp_path / "page.html").as_uri())
        mark = tab.locator("article mark.type0")
        color = "e => getComputedStyle(e).backgroundColor"
        shown = mark.evaluate(color)
        assert mark.text_content() == "王明华人物" and mark.locator("small").is_visible()
        tab.locator("#type0").uncheck()
        assert mark.evaluate(color) != shown and not mark.locator("small").is_visible()
        assert tab.locator("article mark.type1 small").is_visible()
        tab.locator("#type0").check()
        assert mark.evaluate(color) == shown
        assert tab.title() == "翰林" and len(requests) == 1
        browser.close()
