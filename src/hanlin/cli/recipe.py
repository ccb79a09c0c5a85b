"""`hanlin recipe`: list, show and check recipes."""

from __future__ import annotations

import click

from hanlin.cli import console
from hanlin.cli.options import json_option

tiny_option = click.option(
    "--tiny", is_flag=True, help="The small rehearsal: a tiny base, small samples, few steps."
)
compat_option = click.option(
    "--compat", is_flag=True, help="Go back to what the older system did (the recipe's compat)."
)


@click.group()
def recipe() -> None:
    """List, show and check recipes.

    \b
    Examples:
      hanlin recipe list
      hanlin recipe show quickstart
      hanlin recipe check quickstart
    """


@recipe.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the recipes that come with the package.

    \b
    Examples:
      hanlin recipe list
      hanlin recipe list --json
    """
    from hanlin.pipeline.recipe import builtin_recipes, load_recipe

    loaded = [load_recipe(path) for path in builtin_recipes().values()]
    rows = [[item.name, str(len(item.stages)), item.description] for item in loaded]
    value = [{"name": row[0], "stages": int(row[1]), "description": row[2]} for row in rows]
    text = console.table(rows, header=["name", "stages", "description"])
    console.result(value, as_json=as_json, text=text)


@recipe.command()
@click.argument("name")
@tiny_option
@compat_option
def show(name: str, tiny: bool, compat: bool) -> None:
    """Print a recipe, to read it or to start one's own from it.

    \b
    Examples:
      hanlin recipe show quickstart
      hanlin recipe show chinese-vicuna-7b --tiny
      hanlin recipe show quickstart > mine.yaml
    """
    from hanlin.pipeline.recipe import find_recipe, load_recipe

    path = find_recipe(name)
    if tiny or compat:
        console.write(load_recipe(path, is_tiny=tiny, is_compat=compat).text)
    else:  # a recipe with mistakes is shown, too
        console.write(path.read_text(encoding="utf-8"))


@recipe.command()
@click.argument("file")
@tiny_option
@compat_option
@json_option
def check(file: str, tiny: bool, compat: bool, as_json: bool) -> None:
    """Validate a recipe without running anything; say which of its inputs are not there.

    \b
    Examples:
      hanlin recipe check quickstart
      hanlin recipe check knowlm-13b --compat
      hanlin recipe check quickstart --json
    """
    from hanlin.pipeline.recipe import find_recipe, load_recipe

    loaded = load_recipe(find_recipe(file), is_tiny=tiny, is_compat=compat)
    stages = [stage.id for stage in loaded.stages]
    folder = loaded.source.folder
    missing = [name for name, item in loaded.inputs.items() if not item.is_in(folder)]
    lines = [f"ok: {loaded.name}, {len(stages)} stages: {', '.join(stages)}"]
    if missing:
        lines.append("to be supplied before it can run:")
        lines += [f"  --set inputs.{name}=PATH   {loaded.inputs[name].about}" for name in missing]
    value = {"ok": True, "name": loaded.name, "stages": stages, "missing_inputs": missing}
    console.result(value, as_json=as_json, text="\n".join(lines))


@recipe.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for completion and checks in an editor.

    \b
    Examples:
      hanlin recipe schema
    """
    from hanlin.pipeline.recipe import recipe_schema

    console.result(recipe_schema(), as_json=True, text="")
