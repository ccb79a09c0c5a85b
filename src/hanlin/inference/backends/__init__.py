"""Which backends are there? Each is called with a path and gives an engine."""

from hanlin.core.registry import LazyTable

BACKENDS = LazyTable(
    "backend",
    {
        "transformers": "hanlin.inference.backends.transformers:TransformersEngine",
        "openai": "hanlin.inference.backends.openai:OpenAIEngine",
        "llamacpp": "hanlin.inference.backends.llamacpp:LlamaCppEngine",
        "vllm": "hanlin.inference.backends.vllm:VllmEngine",
    },
    group="hanlin.backends",
)
