"""How does an extraction look? A small piece of HTML with the spans marked in the text.

The page needs nothing but itself: no script, no font, no request. A box for each type shows and
hides its marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hanlin.extraction.facts import Event, Extraction, Mention

HUES = 8  # colors before they come again

STYLE = """\
body { font: 16px/1.8 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1d2330, #e6e9f0); background: light-dark(#fff, #14171f); }
:root { color-scheme: light dark; }
mark { color: inherit; border-radius: .3em; padding: .1em .2em;
  background: hsl(calc(var(--type) * 45) 75% 55% / .3); }
mark small { opacity: .75; margin-left: .3em; }
mark.fuzzy, mark.script, mark.folded { border-bottom: 2px dotted; }
.types { position: sticky; top: 0; padding: .5rem 0; background: light-dark(#fff, #14171f); }
.types label { margin-right: 1rem; white-space: nowrap; }
.extraction { border-top: 1px solid #8884; padding: 1rem 0; }
.extraction ul { margin: .3rem 0 0; padding-left: 1.2rem; font-size: .9em; }
"""


def page(found: Sequence[Extraction], *, title: str) -> str:
    """Return a self-contained page with all extractions."""
    types = entity_types(found)
    body = "\n".join(fragment(one, types=types) for one in found)
    hidden = "\n".join(
        f"body:has(#type{n}:not(:checked)) .type{n} {{ background: none; border: 0; padding: 0; "
        f"small {{ display: none; }} }}"
        for n in range(len(types))
    )
    boxes = "".join(
        f'<label><input type="checkbox" id="type{n}" checked> <mark style="--type:{n % HUES}">'
        f"{escape(type_) or '–'}</mark> {_count(found, type_)}</label>"
        for n, type_ in enumerate(types)
    )
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}{hidden}\n</style></head>\n"
        f'<body>\n<h1>{escape(title)}</h1>\n<p class="types">{boxes}</p>\n{body}\n</body></html>\n'
    )


def _count(found: Iterable[Extraction], type_: str) -> int:
    return sum(mention.type == type_ for one in found for mention in one.entities)


def entity_types(found: Iterable[Extraction]) -> list[str]:
    """Return the types that occur, in the order in which they do."""
    return list(dict.fromkeys(mention.type for one in found for mention in one.entities))


def fragment(found: Extraction, *, types: Sequence[str], missing: str = "not in the text") -> str:
    """Return one text with its entities marked, and a list of its relations and events.

    Of two overlapping entities the one that begins first (the longer, where both do) is marked.
    What is not in the text is listed below it, as `missing`.
    """
    lines = [
        f"{escape(found.named(r.head))} → {escape(r.type)} → {escape(found.named(r.tail))}"
        for r in found.relations
    ]
    lines += [_event(event, found) for event in found.events]
    lines += [
        f"{escape(mention.text)} ({escape(mention.type)}): {escape(missing)}"
        for mention in found.entities
        if mention.start is None
    ]
    items = "".join(f"<li>{line}</li>" for line in lines)
    language = escape(found.language, quote=True)
    return (
        f'<article class="extraction" lang="{language}">'
        f"<p>{_marked(found, types)}</p>{f'<ul>{items}</ul>' if items else ''}</article>"
    )


def _event(event: Event, found: Extraction) -> str:
    arguments = "; ".join(f"{role}: {found.named(index)}" for role, index in event.arguments)
    return escape(f"{event.type} ({event.trigger.text}) {arguments}".rstrip())


def _marked(found: Extraction, types: Sequence[str]) -> str:
    parts, at = [], 0
    for start, end, mention in _located(found.entities):
        if start < at:
            continue
        number = types.index(mention.type) if mention.type in types else 0
        kind = f"type{number}" if mention.status == "exact" else f"type{number} {mention.status}"
        label = f"<small>{escape(mention.type)}</small>" if mention.type else ""
        parts += [
            escape(found.text[at:start]),
            f'<mark class="{kind}" style="--type:{number % HUES}">',
        ]
        parts += [escape(found.text[start:end]), label, "</mark>"]
        at = end
    return "".join([*parts, escape(found.text[at:])])


def _located(mentions: Iterable[Mention]) -> list[tuple[int, int, Mention]]:
    places = [(m.start, m.end, m) for m in mentions if m.start is not None and m.end is not None]
    return sorted(places, key=lambda place: (place[0], -place[1]))
