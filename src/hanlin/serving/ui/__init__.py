"""How does the web page come onto the server? One call puts it below a path.

    mount(app, UiPlace(name, engine, scheduler, format))

Call it before the server starts: the page's own start-up joins the app's. Whatever guards the app
guards the page.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hanlin.core.extras import require
from hanlin.serving.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hanlin.serving.settings import UiPlace

PATH = "/ui"


def mount(
    app: FastAPI,
    place: UiPlace,
    *,
    path: str = PATH,
    language: str | None = None,
    max_new_tokens: int = Settings.max_new_tokens,
) -> None:
    """Put the page onto an app.

    Args:
        app: the server.
        place: the model to talk to, a second one to compare it with, schemas and runs.
        path: where the page is.
        language: of the interface, "zh" or "en"; None: what the browser asks for.
        max_new_tokens: the longest answer that can be asked for.

    Raises:
        MissingExtraError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else gradio asks elsewhere for its news
    require("gradio", extra="serve", purpose="the web page")
    from hanlin.serving.ui.blocks import mount_blocks

    mount_blocks(app, place, path=path, language=language, max_new_tokens=max_new_tokens)
