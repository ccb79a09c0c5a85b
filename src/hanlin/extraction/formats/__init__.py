"""In which forms can a model be asked for facts, and answer? A small file for each, in a table."""

from hanlin.core.registry import LazyTable

HERE = "hanlin.extraction.formats"
FORMATS = LazyTable(
    "extraction format",
    {
        "lines": f"{HERE}.lines:LINES",
        "json": f"{HERE}.json_spans:JSON",
        "json-spans": f"{HERE}.json_spans:JSON_SPANS",
        "iepile": f"{HERE}.iepile:IEPILE",
        "deepke-0": f"{HERE}.deepke:TUPLES",
        "deepke-1": f"{HERE}.deepke:SENTENCES",
        "deepke-2": f"{HERE}.deepke:COLONS",
        "deepke-3": f"{HERE}.deepke:DICTS",
        "knowlm": f"{HERE}.knowlm:KNOWLM",
        "cutegpt": f"{HERE}.cutegpt:CUTEGPT",
    },
    group="hanlin.extraction_formats",
)
