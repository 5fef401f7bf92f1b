"""What the settings may hold: typed and strict. A typo or a wrong type stops every command at its door.

Values are written in conf/, once: a default here is only for what may be left out of a source, a column or a profile.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dovetail.errors import SettingsError


def _utc(value: object) -> object:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Moment = Annotated[datetime, BeforeValidator(_utc), AfterValidator(lambda at: at.astimezone(UTC))]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
FeatureEngine = Literal["duckdb", "spark"]
ColumnType = Literal["string", "integer", "number", "boolean", "timestamp"]


class Strict(BaseModel):
    """Frozen, and refuses unknown keys and values of another type; a stage's copy also hides what it does not list."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __getattr__(self, key: str) -> Any:
        """Refuses a hidden key; pydantic answers for all others."""
        if key in type(self).model_fields:
            raise SettingsError(
                f"the settings key '{key}' is hidden from this stage",
                where="because dvc.yaml does not list it under the stage's params.",
                todo=f"List it there, so that the stage reruns when '{key}' changes.",
            )
        return super().__getattr__(key)  # type: ignore[misc]


class Column(Strict):
    """A column of a source: its type and the rule its values keep. All but `type` may be left out.

    `min` and `max` are included; `matches` is a regular expression for the whole value, without look-around.
    """

    type: ColumnType
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    one_of: list[str] | None = None
    matches: Annotated[str, AfterValidator(_compiles)] | None = None

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Self:
        if self.type not in ("integer", "number") and not (self.min is None and self.max is None):
            raise ValueError(f"min and max are for numbers; this column is a {self.type}")
        if self.type != "string" and not (self.one_of is None and self.matches is None):
            raise ValueError(f"one_of and matches are for strings; this column is a {self.type}")
        return self


class Source(Strict):
    """Where a table comes from (`path`, or `connection` and `query`) and its contract.

    `separator` and `missing`, the spellings of a missing value, are for CSV.
    `rename` maps a new name of a column to its name in the contract.
    """

    kind: Literal["csv", "parquet", "sql"]
    path: str | None = None
    connection: str | None = None
    query: str | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    missing: list[str] = [""]
    time: str | None = None
    key: Annotated[list[str], Field(min_length=1)]
    columns: dict[str, Column]
    rename: dict[str, str] = {}
    max_quarantined: Share

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.kind == "sql" and not (self.connection and self.query):
            raise ValueError("a sql source needs `connection` and `query`")
        if self.kind != "sql" and not self.path:
            raise ValueError(f"a {self.kind} source needs `path`")
        return self

    @model_validator(mode="after")
    def _names_its_columns(self) -> Self:
        for name in [*self.key, *self.rename.values(), *filter(None, [self.time])]:
            if name not in self.columns:
                raise ValueError(f"`{name}` is not one of its columns")
        if self.time and self.columns[self.time].type != "timestamp":
            raise ValueError(f"its time column `{self.time}` is not a timestamp")
        if nullable := [name for name in self.key if self.columns[name].nullable]:
            raise ValueError(f"its key column `{nullable[0]}` is nullable")
        return self


class Label(Strict):
    """How the use case's label rows are asked for."""

    column: str
    key: str
    maturity_hours: float = Field(gt=0)
    arguments: dict[str, int | float | str]


class Period(Strict):
    """From `start` up to, not including, `end`."""

    start: Moment
    end: Moment


class Split(Strict):
    """The parts by the moment of prediction, and what the certificate calls suspicious."""

    train: Period
    validation: Period
    holdout: Period
    suspicious_auc: float = Field(gt=0.5, le=1)


class Slice(Strict):
    """Rows that share a value of the column or, with `edges`, a half-open range of it."""

    column: str
    edges: list[float] | None = None


class Evaluation(Strict):
    """How metrics are measured on the holdout.

    Rows whose moments lie in the same block of time are drawn together for an interval; null: each by itself.
    """

    n_bootstrap: Positive
    block_hours: float | None = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    min_slice_rows: Positive
    slices: dict[Name, Slice]


class Change(Strict):
    """What becomes of an input's value: one of the three."""

    add: float | None = None
    multiply: float | None = None
    set: float | str | None = None

    @model_validator(mode="after")
    def _changes_once(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError(f"give one of add, multiply and set; given: {', '.join(given) or 'none'}")
        if self.add == 0 or self.multiply == 1:
            raise ValueError("this changes nothing")
        return self


class Behaviour(Strict):
    """A change of inputs, by their names, while all others stay; and how the predictions must answer.

    Their mean must move as `expect` says, and at least `share` of the rows must not move against it by more than
    `tolerance`, a difference of probabilities.
    """

    change: Annotated[dict[str, Change], Field(min_length=1)]
    expect: Literal["rise", "fall", "stay"]
    share: Share
    tolerance: Share


class Gate(Strict):
    """When a challenger takes the champion's place.

    `floor` is the metric's least for any version (of a metric where smaller is better: its most), `confidence` that
    of the intervals that decide.
    """

    mode: Annotated[Literal["enforce", "dry_run", "off"], BeforeValidator(_off)]
    metric: Literal["roc_auc", "average_precision", "brier", "log_loss"]
    floor: float = Field(ge=0)
    margin: float = Field(ge=0)
    confidence: float = Field(gt=0, lt=1)
    slice_tolerance: float = Field(ge=0)
    behaviour: dict[Name, Behaviour]


class Drift(Strict):
    """What is compared with what, and what counts as drift."""

    reference: Literal["train"]
    min_rows: Positive
    threshold: float = Field(gt=0)
    missing_tolerance: Share


class Scoring(Strict):
    """Which rows are new enough to be scored in batch, and whether by a champion that never passed the gate."""

    window_hours: float = Field(gt=0)
    ungated: Literal["refuse", "warn"] = "refuse"


class Parity(Strict):
    """How many moments, and rows at each, are read online and offline and compared."""

    moments: Positive
    rows: Positive


class Online(Strict):
    """How features are brought online, and how that is checked."""

    overlap_hours: float = Field(ge=0)
    parity: Parity


class UseCase(Strict):
    """One question, its data and its rules."""

    name: Name
    until: Moment
    sources: dict[Name, Source]
    label: Label
    request: list[str]
    feature_service: str
    online: Online
    split: Split
    evaluation: Evaluation
    gate: Gate
    scoring: Scoring
    drift: Drift


class HistGradientBoosting(Strict):
    """scikit-learn's HistGradientBoostingClassifier."""

    name: Literal["hist_gradient_boosting"]
    learning_rate: float = Field(gt=0)
    max_iter: Positive
    max_leaf_nodes: int = Field(gt=1)
    min_samples_leaf: Positive
    l2_regularization: float = Field(ge=0)
    seed: int


class Logistic(Strict):
    """scikit-learn's LogisticRegression on scaled numbers and one-hot categories."""

    name: Literal["logistic"]
    C: float = Field(gt=0)
    max_iter: Positive
    seed: int


class Baseline(Strict):
    """The share of positives in the training part, whatever the input."""

    name: Literal["baseline"]
    seed: int


Model = Annotated[HistGradientBoosting | Logistic | Baseline, Field(discriminator="name")]


class Pipeline(Strict):
    """WHAT to compute: params.yaml, typed."""

    usecase: UseCase
    model: Model
    seed: int


class MLflow(Strict):
    """Where runs and models are recorded; `artifact_location` is for experiments that do not exist yet."""

    tracking_uri: str
    artifact_location: str | None

    @property
    def database(self) -> Path | None:
        """The database when it is a file, which lies on this machine; None when a server answers."""
        is_file = self.tracking_uri.startswith("sqlite:///")
        return Path(self.tracking_uri.removeprefix("sqlite:///")) if is_file else None


class Profile(Strict):
    """WHERE to compute and store; never part of params.yaml.

    `feature_store` is Feast's file in feature_repo/. `feature_engine` computes the feature tables and label rows, with
    the same result; Spark is the one of that file's `offline_store.spark_conf`. `approval` says whether a person has to
    approve a version before it is promoted.
    """

    name: Name
    connections: dict[Name, str]
    feature_store: str
    feature_engine: FeatureEngine = "duckdb"
    mlflow: MLflow
    predictions: str
    approval: Literal["none", "required"] = "none"
