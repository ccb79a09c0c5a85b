"""A taught tiny model behind a real server with its web page, and a real Chromium before it."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from hanlin.core.records import Conversation, Message
from hanlin.inference.conversation import prompt_format
from hanlin.inference.scheduler import Scheduler
from hanlin.models.load import load_model
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, make_tiny, new_llama
from hanlin.prompts.encode import encode_conversation
from hanlin.prompts.formats import get_format
from hanlin.serving.app import build_app, guarded
from hanlin.serving.metrics import Metrics
from hanlin.serving.run import listen, new_server, url_of
from hanlin.serving.service import Service
from hanlin.serving.settings import Settings, UiPlace
from hanlin.serving.ui import mount
from hanlin.tokenization.load import load as load_tokenizer

CHROMIUM = Path("/usr/bin/chromium")
START_SECONDS = 120
# Notes every state of the last answer, and whether U+FFFD was ever there.
WATCH = """
window.states = []; window.isBroken = false;
new MutationObserver(() => {
  const answers = document.querySelectorAll("#chatbot .bubble.assistant .text");
  const text = answers.length ? answers[answers.length - 1].textContent : "";
  if (text && text !== window.states[window.states.length - 1]) window.states.push(text);
  window.isBroken ||= document.documentElement.textContent.includes("\\ufffd");
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


def teach(folder, lessons, *, steps=250):
    """Make a tiny model that knows some answers by heart; rare characters are byte tokens to it."""
    texts = [*SAMPLE_TEXTS, *(question for question, _ in lessons)]
    make_tiny(folder, texts=texts, hidden_size=96)
    tokenizer, format = load_tokenizer(folder), get_format("plain")
    rows = []
    for question, answer in lessons:
        said = (Message("user", question), Message("assistant", answer))
        rows.append(encode_conversation(Conversation(said), format=format, tokenizer=tokenizer))
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (width - len(row.ids)) for row in rows])
    is_padding = torch.tensor([[False] * len(r.ids) + [True] * (width - len(r.ids)) for r in rows])
    model = load_model(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=ids.masked_fill(is_padding, -100)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            break
    return save_model(model.eval(), tokenizer, folder)


def make_endless(folder):
    """Make a tiny model whose greedy answers go on: its end token is never the likeliest."""
    tokenizer = load_tokenizer(make_tiny(folder))
    shape = Architecture(hidden_size=64, layers=4, heads=4, max_length=100_000)
    model = new_llama(shape, tokenizer.vocab_size, 0)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_id] = 0  # of many others, one is always above 0
    return save_model(model, tokenizer, folder)


def place(name, engine, **more):
    return UiPlace(name, engine, Scheduler(engine), prompt_format(engine), **more)


@contextmanager
def page_of(shown, *, language=None, **limits):
    """Serve a model with its page, guarded; give the page's address."""
    settings = Settings(**limits)
    service = Service(
        shown.engine, scheduler=shown.scheduler, format=shown.format, name=shown.name,
        settings=settings, metrics=Metrics(),
    )  # fmt: skip
    app = build_app(service, schemas=shown.schemas)
    mount(app, shown, language=language, max_new_tokens=settings.max_new_tokens)
    is_ready = threading.Event()
    listening = listen("127.0.0.1", 0)
    server = new_server(guarded(app, service), service, when_ready=is_ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    assert is_ready.wait(START_SECONDS)
    try:
        yield f"{url_of(listening)}/ui"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def chromium():
    """Start a browser that reaches this machine only."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


class Visit:
    """One look at the page, and all that it asked for.

    Attributes:
        page: playwright's.
        elsewhere: addresses that are not this server's; they were not let through.
        failed: requests of the page that did not get what they asked for.
        complaints: what the browser's console says is wrong.
    """

    def __init__(self, context, address, *, is_watched=False):
        self.address, self.elsewhere, self.failed, self.complaints = address, [], [], []
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.add_init_script(WATCH)
        if is_watched:  # which leaves the browser without its cache
            self.page.route("**/*", self._let_through)
        self.page.on("response", self._note_response)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note_console)
        self.page.goto(f"{address}/")
        self.page.wait_for_selector("#question textarea")
        self.page.wait_for_function("document.documentElement.lang.length > 0")

    def _let_through(self, route):
        url = route.request.url
        if url.startswith((self.address.removesuffix("/ui"), "data:", "blob:")):
            route.continue_()
        else:
            self.elsewhere.append(url)
            route.abort()

    def _note_response(self, response):
        if response.status >= 400 and not response.url.endswith("/favicon.ico"):
            self.failed.append((response.status, response.url))

    def _note_console(self, message):
        if message.type == "error" and "favicon" not in str(message.location):
            self.complaints.append(message.text)

    def ask(self, question, *, box="#question"):
        self.page.fill(f"{box} textarea", question)
        self.page.press(f"{box} textarea", "Enter")

    def finished(self, status="#chat-status", *, word="finished"):
        """Wait until an answer came to its end."""
        self.page.wait_for_selector(f"{status} [data-status={word}]")

    def said(self):
        return self.page.locator("#chatbot .bubble .text").all_text_contents()

    def choose(self, decoding):
        self.page.click(f"#decoding input[value={decoding}]")

    def talk_long_to(self, model):
        """Choose a model whose answer goes on until it is stopped, and ask it."""
        self.page.click("#model input")
        self.page.click(f"ul[role=listbox] >> text={model}")
        assert self.page.input_value("#model input") == model
        self.page.fill("#max_new_tokens input[type=number]", "4096")
        self.ask("一直说下去")
        self.page.wait_for_function("window.states.length > 2")

    def turn_to(self, tab):
        self.page.click(f"button[role=tab]:has-text('{tab}')")
