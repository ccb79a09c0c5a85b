"""What does the book (mkdocs) do with a page? It names files elsewhere, and joins Chinese lines.

A hook of mkdocs.yml. In the repository `[figures](../benchmarks/results/x.md)` is a link; in the
book, which holds the pages alone, it becomes the words and the path. A line that ends between two
Chinese characters would be shown with a space there.
"""

import logging
import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
CHINESE = "[\u3000-\u9fff\uff01-\uff60]"  # characters and marks of full width
LINE_END = re.compile(rf"(?<={CHINESE})\n *(?={CHINESE})")


def on_config(config: Any) -> Any:  # noqa: ANN401 - mkdocs' own, handed on
    """Keep jieba, which finds the words of Chinese pages for the search, from talking."""
    logging.getLogger("jieba").setLevel(logging.WARNING)
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - page, config, files
    """Return the page's text with such links written out and such lines joined."""
    parts = FENCED.split(markdown)
    parts[::2] = [LINE_END.sub("", OUTSIDE.sub(r"\1 (`\2`)", prose)) for prose in parts[::2]]
    return "".join(parts)
