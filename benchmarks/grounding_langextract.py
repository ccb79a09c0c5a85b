"""Align names with langextract: cases as JSON lines on stdin, spans as JSON lines on stdout.

    python benchmarks/grounding_langextract.py regex|unicode < cases.jsonl > spans.jsonl

Run by benchmarks/grounding.py with the Python of an environment that has langextract.
"""

import json
import sys
import time
from importlib.metadata import version

from langextract import resolver
from langextract.core import data, tokenizer

TOKENIZERS = {"regex": tokenizer.RegexTokenizer, "unicode": tokenizer.UnicodeTokenizer}


def main() -> None:
    """Align each case, as langextract's own resolver does with its defaults."""
    tokenizer_impl = TOKENIZERS[sys.argv[1]]()
    aligner = resolver.WordAligner()
    print(json.dumps({"version": version("langextract")}))
    for line in sys.stdin:
        case = json.loads(line)
        group = [data.Extraction("name", name) for name in case["names"]]
        start = time.perf_counter()
        (found,) = aligner.align_extractions([group], case["text"], tokenizer_impl=tokenizer_impl)
        places = [one.char_interval for one in found]
        spans = [[p.start_pos, p.end_pos] if p else None for p in places]
        print(json.dumps({"seconds": time.perf_counter() - start, "spans": spans}))


if __name__ == "__main__":
    main()
