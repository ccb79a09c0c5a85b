"""The table of stages: a new stage is one module with a `STAGE` and one line here."""

from hanlin.core.registry import LazyTable

STAGES = LazyTable(
    "stage",
    {
        "sample-world": "hanlin.data.sample_world:STAGE",
        "base": "hanlin.training.base:STAGE",
        "extend-tokenizer": "hanlin.tokenization.extend:STAGE",
        "grow": "hanlin.models.grow:STAGE",
        "prepare-corpus": "hanlin.data.prepare_corpus:STAGE",
        "pretrain": "hanlin.training.pretrain:STAGE",
        "instruct": "hanlin.extraction.knowledge.instruct:STAGE",
        "graph-instruct": "hanlin.extraction.knowledge.from_graph:STAGE",
        "prepare-chat": "hanlin.data.prepare_chat:STAGE",
        "finetune": "hanlin.training.finetune:STAGE",
        "dpo": "hanlin.training.dpo:STAGE",
        "merge": "hanlin.weights.merge.merge:STAGE",
        "diff": "hanlin.weights.diff.stage:STAGE",
        "evaluate": "hanlin.evaluation.evaluate:STAGE",
        "export": "hanlin.weights.gguf.export:STAGE",
    },
    group="hanlin.stages",
)
