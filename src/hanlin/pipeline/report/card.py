"""What is on a report card? Plain frozen records; nothing here reads a file or draws."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hanlin.core.measure import Measure

StageStatus = Literal["finished", "failed", "unfinished", "not run"]
RunStatus = Literal["finished", "failed", "unfinished", "partial"]
Quantity = Literal["loss", "bits_per_byte", "change", "rewards", "preferred"]


@dataclass(frozen=True)
class ArtifactLine:
    """One thing that a stage left; `path` is relative to the run's folder."""

    name: str
    kind: str
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class StageLine:
    """One stage of the run.

    Attributes:
        id: its name in the recipe.
        stage: its name in the table of stages.
        status: finished, failed, unfinished (interrupted, or still going on) or not run.
        is_cached: its result was taken from the cache; time and memory are those of its making.
        seconds: wall time, None where it is not known.
        peak_bytes: peak resident memory, None where it is not known.
        artifacts: what it left.
        error: what it failed of, "" otherwise.
    """

    id: str
    stage: str
    status: StageStatus
    is_cached: bool = False
    seconds: float | None = None
    peak_bytes: int | None = None
    artifacts: tuple[ArtifactLine, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a chart: (step, value) in the order of steps."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curve:
    """What one stage logged while it trained.

    Attributes:
        stage: id of the stage.
        quantity: "loss" (nats per token); "bits_per_byte" and its "change" since the start in %, by
            language; of preferences "rewards" (nats) and "preferred" (% of the pairs).
        series: one for the loss and for `preferred`, one for each language or kind of reward.
        steps: the last step that was logged.
        tokens: training tokens seen at the last step, None where it is not logged.
        tokens_per_s: median of what was logged, None where it is not logged.
        steps_per_point: more than 1 where a point is the mean of several logged values.
    """

    stage: str
    quantity: Quantity
    series: tuple[Series, ...]
    steps: float
    tokens: int | None = None
    tokens_per_s: float | None = None
    steps_per_point: int = 1


@dataclass(frozen=True)
class TrainedRow:
    """What one of the first rows taught.

    Attributes:
        row: its number.
        text: decoded; what the loss counts stands in ⟦brackets⟧.
        rejected: of a preference, the answer that is not wanted.
    """

    row: int
    text: str
    rejected: str = ""


@dataclass(frozen=True)
class Sample:
    """How a held-out text was gone on with, as (step, text): at the first probe and at the last."""

    language: str
    prompt: str
    texts: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class AskedAgain:
    """A trained question, what the tuned model answers, and the answer that was trained."""

    prompt: str
    answer: str
    trained: str
    is_ended: bool


@dataclass(frozen=True)
class TrainingTexts:
    """What a training stage showed in words; texts of more than some hundred characters are cut.

    Attributes:
        stage: id of the stage.
        continued: the arithmetic of steps and learning rate where an earlier run was continued.
        rows: the first rows that were trained.
        samples: how held-out texts are gone on with.
        answers: trained questions, asked again; the first of them.
        asked: all of them.
        ended: of these, the ones whose answer ended with an end token.
    """

    stage: str
    continued: str = ""
    rows: tuple[TrainedRow, ...] = ()
    samples: tuple[Sample, ...] = ()
    answers: tuple[AskedAgain, ...] = ()
    asked: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval and the number of items behind it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class PublishedScore:
    """A figure of others, got in the same way; nothing here measured it."""

    model: str
    part: str
    value: float
    below_chance: bool
    source: str
    is_other_split: bool = False


@dataclass(frozen=True)
class ScoreRow(Measure):
    """One benchmark in one language, for each evaluated model.

    Attributes:
        categories: model -> category of subjects -> accuracy.
        published: what others published.
        problems: model -> what was left out, cut or unclear, in plain words.
    """

    scores: dict[str, Score]
    categories: dict[str, dict[str, Score]] = field(default_factory=dict)
    published: tuple[PublishedScore, ...] = ()
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialogue:
    """One prompt and what each model answered."""

    language: str
    prompt: str
    answers: dict[str, str]


@dataclass(frozen=True)
class Entity:
    """An extracted entity; `[start, end)` in characters of the text, None where not located."""

    text: str
    type: str
    start: int | None = None
    end: int | None = None
    status: str = ""


@dataclass(frozen=True)
class Relation:
    """`head` stands in the relation `type` to `tail`."""

    type: str
    head: str
    tail: str


@dataclass(frozen=True)
class Event:
    """An event with its trigger word and (role, entity) pairs."""

    type: str
    trigger: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a text says, as somebody found it."""

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class ExtractionSample:
    """A text, what the model found in it, and the reference where there is one."""

    text: str
    language: str
    found: Facts
    gold: Facts | None = None


@dataclass(frozen=True)
class Evaluation:
    """One scores.json.

    Attributes:
        stage: id of the stage that made it.
        models: names of the evaluated models, the first is the one that others are compared to.
    """

    stage: str
    models: tuple[str, ...]
    rows: tuple[ScoreRow, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()
    extractions: tuple[ExtractionSample, ...] = ()


@dataclass(frozen=True)
class FertilityBar:
    """Tokens per character of one tokenizer on one language."""

    language: str
    tokenizer: str
    tokens_per_character: float


@dataclass(frozen=True)
class Segmentation:
    """How the tokenizer stage found one language to be cut, before or after it.

    Attributes:
        language: "zh", "en", ..., or the name of the texts.
        tokenizer: "before" or "after".
        characters_per_token: more is better.
        bytes_fallen_back_share: of the texts' bytes; None where it was not measured.
    """

    language: str
    tokenizer: str
    characters_per_token: float
    bytes_fallen_back_share: float | None = None


@dataclass(frozen=True)
class ExportCheck:
    """One check of an exported file; `details` are shown as they are."""

    stage: str
    file: str
    is_ok: bool | None
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Card:
    """Everything that a report shows, taken from the run's folder and nothing else.

    Attributes:
        name: the run's name.
        description: the recipe's sentence.
        recipe: name of the recipe or its file.
        seed: root seed, None where it is not recorded.
        hanlin: version that ran it, "" where it is not recorded.
        status: how far the run came.
        finished_at: UTC time at which the last stage finished, "" where it is not recorded.
        vocabulary: what the tokenizer stage counted, such as ("added", 612).
        segmentation: what the tokenizer stage measured on the texts that it was given.
        environment: machine and versions.
        recipe_text: the recipe as it was run, absolute paths shortened; "" where it is not kept.
        notes: what is missing or could not be read, in plain words.
    """

    name: str
    description: str = ""
    recipe: str = ""
    seed: int | None = None
    hanlin: str = ""
    status: RunStatus = "partial"
    finished_at: str = ""
    stages: tuple[StageLine, ...] = ()
    curves: tuple[Curve, ...] = ()
    training: tuple[TrainingTexts, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    fertility: tuple[FertilityBar, ...] = ()
    vocabulary: tuple[tuple[str, int], ...] = ()
    segmentation: tuple[Segmentation, ...] = ()
    checks: tuple[ExportCheck, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    recipe_text: str = ""
    notes: tuple[str, ...] = ()
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the version first."""
        values = asdict(self)
        return {"version": values.pop("version"), **values}
