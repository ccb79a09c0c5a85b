"""What does the book (mkdocs) do with links to files outside docs/? It names them.

A hook of mkdocs.yml. In the repository `[figures](../benchmarks/results/x.md)` is a link; in the
book, which holds the pages alone, it becomes the words and the path.
"""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - page, config, files
    """Return the page's text with such links written out."""
    return OUTSIDE.sub(r"\1 (`\2`)", markdown)
