"""Which texts does a benchmark of running text measure?"""

from __future__ import annotations

from hanlin.core.records import Document
from hanlin.data.readers import BadRows, read_documents
from hanlin.evaluation.benchmark import BenchmarkConfig, chosen_items


def read_texts(config: BenchmarkConfig) -> list[Document]:
    """Return the documents of the config's data, language and limit; empty ones are left out.

    Raises:
        InputError: nothing is there, or no document is left.
    """
    found = read_documents(config.data, bad=BadRows(config.max_bad_rows))
    documents = [document for document in found if document.text.strip()]
    return chosen_items(documents, config, languages=[d.language for d in documents])
