"""`hanlin extract instruct`: make conversations that teach a model to extract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import Finite, ManyFiles, force_option, json_option, out_option, seed_option

if TYPE_CHECKING:
    from hanlin.extraction.knowledge.compose import Example
    from hanlin.extraction.knowledge.from_graph import Config
    from hanlin.extraction.knowledge.produce import Judge

existing = click.Path(path_type=Path)
JUDGED_AT_ONCE = 32  # questions


@click.command(cls=ManyFiles)
@click.argument("examples", type=existing, required=False)
@click.option("--schema", "schema_file", type=existing, help="Types of the EXAMPLES.")
@click.option("--graph", type=existing, multiple=True, metavar="FILE...",
              help="Triples and names: .tsv, .jsonl, RDF, a Wikidata dump, a store.")  # fmt: skip
@click.option("--texts", type=existing, multiple=True, metavar="FILE...",
              help="Texts in any format that can be read.")  # fmt: skip
@click.option("--language", help="Of texts that do not name theirs; else told by the script.")
@click.option("--format", "formats", multiple=True, metavar="NAME...",
              help="Form of the answers: lines, json, iepile, deepke-0, knowlm, ...; of several "
              "each text is given one.")  # fmt: skip
@click.option("--test-share", type=Finite(0, 1), help="Entities that no training text names.")
@click.option("--negatives", type=click.IntRange(0, 100),
              help="Types that are asked for although the text has none of them.")  # fmt: skip
@click.option("--scope", type=click.Choice(["sentence", "topic", "text"]),
              help="How near head and tail must be.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; the result is the same.")
@click.option("--engine", type=click.Choice(["local", "ray"]), help="Who works.")
@click.option("--task", type=click.Choice(["extract", "plan"]), default="extract",
              show_default=True, help="plan: questions and plans for extract ask.")  # fmt: skip
@click.option("--plan-form", type=click.Choice(["code", "slots", "cutegpt"]),
              default="code", show_default=True,
              help="Form of the plans; slots: numbers for the names in a question.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), default=5000, show_default=True,
              help="Plans of each language and number of hops.")  # fmt: skip
@click.option("--config", "config_file", type=existing, help="YAML file with more settings.")
@click.option("--check", metavar="MODEL", help="Strike out facts that this model does not find.")
@click.option("--supplement", metavar="MODEL", help="Add facts that this model finds besides.")
@seed_option
@out_option()
@force_option
@json_option
def instruct(  # noqa: PLR0913 - one argument for each option
    examples: Path | None, schema_file: Path | None, config_file: Path | None, seed: int,
    check: str | None, supplement: str | None, task: str, plan_form: str, most: int, out: Path,
    force: bool, as_json: bool,
    **settings: Any,  # noqa: ANN401 - of the stage, by name
) -> None:  # fmt: skip
    """Turn extraction EXAMPLES, or a graph and texts, into conversations to finetune on.

    From a graph: every text in which entities of the graph stand is searched for what the graph
    says of them. OUT gets train.jsonl and test.jsonl (no entity of the test is named in training),
    the examples behind them with places and evidence, their schema, statistics and samples.

    \b
    Examples:
      hanlin extract instruct examples.jsonl --schema schema.yaml --out instructions
      hanlin extract instruct --graph world/graph --texts world/corpus --out instructions
      hanlin extract instruct --graph world/graph --task plan --out plans
      hanlin extract instruct --graph plants.jsonl --texts plants.txt --format iepile json --out ie
    """
    from hanlin.core.errors import ConfigError

    settings = {key: value for key, value in settings.items() if value not in (None, ())}
    has_graph = "graph" in settings or (config_file is not None and task == "extract")
    if (examples is None) != has_graph:
        raise ConfigError(
            "instructions are made of EXAMPLES, or of --graph and --texts",
            why="both were given" if examples else "neither was given",
            fix="hanlin extract instruct --help shows both ways",
        )
    if examples is not None:
        _from_examples(examples, schema_file, out=out, force=force, as_json=as_json)
        return
    if task == "plan":
        _plans(
            settings, form=plan_form, most=most, seed=seed, out=out, force=force, as_json=as_json
        )
        return
    config = _config(settings, config_file)
    judge = _judge(check, supplement)
    _from_graph(config, judge, seed=seed, out=out, force=force)
    _show(out, as_json=as_json)


def _from_examples(
    examples: Path, schema_file: Path | None, *, out: Path, force: bool, as_json: bool
) -> None:
    from hanlin.core.config import InputPath
    from hanlin.core.errors import ConfigError
    from hanlin.extraction.knowledge.instruct import Config
    from hanlin.pipeline.run import run_single

    if schema_file is None:
        raise ConfigError("EXAMPLES need their types", fix="add --schema FILE")
    config = Config(examples=InputPath(examples), schema_file=InputPath(schema_file))
    folder = run_single("instruct", config, out=out, force=force, progress=console.progress())
    console.result({"out": str(folder)}, as_json=as_json, text=f"{folder}/chat.jsonl")


def _plans(settings: dict[str, Any], *, as_json: bool, **more: Any) -> None:  # noqa: ANN401
    from hanlin.extraction.knowledge.plan_rows import write_plan_rows
    from hanlin.extraction.knowledge.produce import LANGUAGES

    languages = (settings["language"],) if "language" in settings else LANGUAGES
    share = settings.get("test_share", 0.1)
    counts = write_plan_rows(settings["graph"], languages=languages, test_share=share, **more)
    text = f"{more['out']}: {counts['train']:,} plans to train on, {counts['test']:,} for the test"
    console.result({"out": str(more["out"]), **counts}, as_json=as_json, text=text)


def _config(settings: dict[str, Any], file: Path | None) -> Config:
    from hanlin.core.config import ConfigSource, load_yaml, validate
    from hanlin.core.errors import ConfigError
    from hanlin.extraction.knowledge.from_graph import Config

    values, source = load_yaml(file) if file else ({}, ConfigSource("the command line", Path.cwd()))
    for key, value in settings.items():
        values[key] = list(map(str, value)) if isinstance(value, tuple) else value
    if "texts" not in values:
        raise ConfigError("a graph alone has nothing to read", fix="add --texts FILE...")
    return validate(Config, values, source=source)


def _judge(check: str | None, supplement: str | None) -> Judge | None:
    """Return what asks the models, None where there are none."""
    if check is None and supplement is None:
        return None
    from hanlin.cli.extract.asking import asker
    from hanlin.extraction.align import align
    from hanlin.extraction.knowledge import judge
    from hanlin.extraction.parse import parse_answer
    from hanlin.extraction.prompt import extraction_prompt

    ask = asker(check, max_new_tokens=8) if check else None
    tell = asker(supplement) if supplement else None

    def extracted(examples: Sequence[Example]) -> list[Any]:
        assert tell is not None
        answers = tell([extraction_prompt(e.found.text, e.schema) for e in examples])
        return [
            align(parse_answer(answer, e.schema), e.found.text)
            for answer, e in zip(answers, examples, strict=True)
        ]

    def judged(examples: Sequence[Example]) -> tuple[list[Example], dict[str, int]]:
        counts = {}
        kept = list(examples)
        if ask is not None:
            kept, counts["facts struck out by the model"] = judge.check(kept, ask)
        if tell is not None:
            kept, counts["facts added by the model"] = judge.supplement(kept, extracted)
        return kept, counts

    return judged


def _from_graph(config: Config, judge: Judge | None, *, seed: int, out: Path, force: bool) -> None:
    from hanlin.core.events import EventLog
    from hanlin.core.files import resumable_directory, work_key
    from hanlin.core.stage import StageContext
    from hanlin.data.readers import files_in
    from hanlin.extraction.knowledge.produce import produce
    from hanlin.pipeline.run import run_single

    if judge is None:
        run_single(
            "graph-instruct", config, out=out, force=force, seed=seed, progress=console.progress()
        )
        return
    inputs = [file for path in (*config.graph, *config.texts) for file in files_in(Path(path))]
    key = work_key(config.model_dump(mode="json"), seed, "judged", files=inputs)
    with resumable_directory(out, key=key, force=force, inputs=inputs) as folder:
        events = EventLog(folder / "events.jsonl")
        context = StageContext("graph-instruct", folder, seed, events, console.progress())
        produce(config, context, judge=judge)


def _show(out: Path, *, as_json: bool) -> None:
    from hanlin.core.files import read_json

    found = read_json(out / "statistics.json")
    texts, graph = found["texts"], found["graph"]
    lines = [
        f"{out}: {texts.get('train conversations', 0):,} conversations to train on, "
        f"{texts.get('test conversations', 0):,} for the test",
        "  graph: " + ", ".join(f"{count:,} {name}" for name, count in graph.items()),
        *(f"  {name}: {count:,}" for name, count in texts.items()),
        f"  read some: {out}/samples.md",
    ]
    console.result({"out": str(out), **found}, as_json=as_json, text="\n".join(lines))
