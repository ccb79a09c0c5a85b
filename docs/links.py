"""Does every link inside the built book lead somewhere? Pages, pictures, scripts and anchors.

python docs/links.py site
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to and how it can be linked to."""
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def dead_links(site: Path) -> list[str]:
    """Return a line for each link to a file or an anchor that the site has not.

    Links to other sites are not followed. A link that begins with a slash is meant from the site.
    """
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    dead = []
    for file, page in pages.items():
        for link in dict.fromkeys(page.links):
            if reason := _dead(link, file, site, pages):
                dead.append(f"{file.relative_to(site)}: {link}: {reason}")
    return dead


def _dead(link: str, file: Path, site: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    path = unquote(parts.path)
    target = site / path.lstrip("/") if path.startswith("/") else file.parent / path
    target = file if not path else Path(*target.resolve().parts)
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    is_missing = anchor and target in pages and anchor not in pages[target].anchors
    return f"{target.name} has no such anchor" if is_missing else ""


def main() -> int:
    """Print what is dead; the exit code is 1 where anything is, or where there is no page."""
    site = Path(sys.argv[1]).resolve()
    lines = dead_links(site)
    if not any(site.rglob("*.html")):
        lines = [f"{site} holds no page"]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())
