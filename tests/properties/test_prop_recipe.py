"""Whatever a user writes, loading a recipe gives a recipe or a message that names the file."""

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanlin.core.errors import ConfigError
from hanlin.pipeline.recipe import load_recipe

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.text(max_size=8)
    | st.sampled_from(["sample-world", "grow", "@world/corpus", "@world", "@", "fp32"])
)
KEYS = st.sampled_from(
    ["schema_version", "name", "seed", "stages", "stage", "world", "people", "model", "tokenizer"]
) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(KEYS | st.integers(0, 3) | st.none(), below, max_size=4)
    ),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {"name": st.just("smoke")},
    optional={"stages": st.dictionaries(KEYS, VALUES, max_size=3) | VALUES, "seed": VALUES},
)
SETTINGS = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        assert load_recipe(path).stages
    except ConfigError as error:
        assert str(path) in str(error)


@SETTINGS
@given(NEARLY | VALUES)
def test_any_yaml_value(tmp_path, value):
    load(tmp_path / "r.yaml", yaml.safe_dump(value, allow_unicode=True))


@SETTINGS
@given(st.text(alphabet="ab: -[]{}&*!?|>'\"#%@\n\t\x00中", max_size=40))
def test_any_text(tmp_path, text):
    load(tmp_path / "r.yaml", text)


def test_deep_nesting_is_no_crash(tmp_path):
    load(tmp_path / "r.yaml", "[" * 5000)
