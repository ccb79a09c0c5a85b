"""Which benchmarks are there? One file each; other packages add theirs by entry points."""

from hanlin.core.registry import LazyTable

HERE = "hanlin.evaluation.benchmarks"
BENCHMARKS = LazyTable(
    "benchmark",
    {
        "questions": f"{HERE}.questions:BENCHMARK",
        "ceval": f"{HERE}.ceval:BENCHMARK",
        "cmmlu": f"{HERE}.cmmlu:BENCHMARK",
        "mmlu": f"{HERE}.mmlu:BENCHMARK",
        "m3ke": f"{HERE}.m3ke:BENCHMARK",
        "xiezhi": f"{HERE}.xiezhi:BENCHMARK",
        "agieval": f"{HERE}.agieval:BENCHMARK",
        "gaokao": f"{HERE}.gaokao:BENCHMARK",
        "bits-per-byte": f"{HERE}.bits_per_byte:BENCHMARK",
        "extraction": f"{HERE}.extraction:BENCHMARK",
        "tokens-per-character": f"{HERE}.tokens_per_character:BENCHMARK",
    },
    group="hanlin.benchmarks",
)
