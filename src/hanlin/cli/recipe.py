"""`hanlin recipe`: list, show and check recipes."""

from __future__ import annotations

import click

from hanlin.cli import console
from hanlin.cli.options import json_option


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
def show(name: str) -> None:
    """Print a recipe, to read it or to start one's own from it.

    \b
    Examples:
      hanlin recipe show quickstart
      hanlin recipe show quickstart > mine.yaml
    """
    from hanlin.pipeline.recipe import find_recipe

    console.write(find_recipe(name).read_text(encoding="utf-8"))


@recipe.command()
@click.argument("file")
@json_option
def check(file: str, as_json: bool) -> None:
    """Validate a recipe without running anything.

    \b
    Examples:
      hanlin recipe check quickstart
      hanlin recipe check quickstart --json
    """
    from hanlin.pipeline.recipe import find_recipe, load_recipe

    loaded = load_recipe(find_recipe(file))
    stages = [stage.id for stage in loaded.stages]
    text = f"ok: {loaded.name}, {len(stages)} stages: {', '.join(stages)}"
    console.result({"ok": True, "name": loaded.name, "stages": stages}, as_json=as_json, text=text)


@recipe.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for completion and checks in an editor.

    \b
    Examples:
      hanlin recipe schema
    """
    from hanlin.pipeline.recipe import recipe_schema

    console.result(recipe_schema(), as_json=True, text="")
