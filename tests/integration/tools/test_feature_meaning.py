"""What a model's inputs mean: a document that changes with the meaning, and says what changed."""

from pathlib import Path

import pytest

from dovetail.settings.schema import Label, UseCase
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.meaning import Meaning, differences, listed, meaning, meaning_hash

MODULE = '''
"""Shops."""
from datetime import timedelta
import ibis
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from ibis import _

KNOWN_AFTER = 1
FACTOR = 2
shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
SOURCE = FileSource(name="sales", path="../data/features/sales.parquet", timestamp_field="event_timestamp")
schema = [Field(name="shop", dtype=String), Field(name="sold", dtype=Int64), Field(name="kept", dtype=Int64)]
sales_view = FeatureView(name="sales", entities=[shop], ttl=timedelta(days=2), source=SOURCE, schema=schema)
asked = RequestSource(name="asked", schema=[Field(name="price", dtype=Float64)])

def sales(sources):
    """What was sold."""
    known = _.at + ibis.interval(hours=KNOWN_AFTER)  # when it was known
    return sources["sales"].select("shop", "sold", "kept", event_timestamp=known)

@on_demand_feature_view(sources=[sales_view, asked], schema=[Field(name="turnover", dtype=Float64)])
def turnover(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"turnover": rows["sold"] * rows["price"] * FACTOR})

def label_rows(sources, *, hours):
    return sources["orders"]

shops = FeatureService(name="shops", features=[sales_view[["sold"]], turnover])
FEATURE_TABLES = {"sales": sales}
'''
LABEL = Label(column="is_late", key="id", maturity_hours=24, arguments={"hours": 2})


def said(root: Path, module: str = MODULE, label: Label = LABEL, request: tuple[str, ...] = ("size",)) -> Meaning:
    """What a module means with a label and a request."""
    (root / "feature_repo").mkdir(exist_ok=True)
    (root / "feature_repo" / "shops.py").write_text(module)
    usecase = UseCase.model_construct(label=label, request=list(request))
    return meaning(load_definitions(root / "feature_repo", "shops"), usecase)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What was sold."""\n    ', ""),
        ("  # when it was known", ""),
        ("[sales_view, asked]", "[ sales_view, asked, ]"),
        ('name="sold", dtype=Int64)', 'name="sold", dtype=Int64, description="Pieces")'),
    ],
    ids=["docstring", "comment", "format", "description"],
)
def test_words_and_layout_mean_nothing(tmp_path: Path, old: str, new: str) -> None:
    """What computes nothing changes neither the hash nor the document."""
    assert MODULE.count(old) == 1
    before, after = said(tmp_path), said(tmp_path, MODULE.replace(old, new))
    assert meaning_hash(before) == meaning_hash(after)
    assert differences(before, after) == {}


CHANGES = {
    "time to live": ("days=2", "days=3", {"sales": ["time to live: 2 days, 0:00:00 -> 3 days, 0:00:00"]}),
    "for ever": ("timedelta(days=2)", "timedelta(0)", {"sales": ["time to live: 2 days, 0:00:00 -> for ever"]}),
    "type": ('"sold", dtype=Int64', '"sold", dtype=Float64', {"sales": ["features sold: Int64 -> Float64"]}),
    "feature": (
        'Field(name="kept"',
        'Field(name="lost"',
        {"sales": ["features kept is gone: Int64", "features lost is new: Int64"]},
    ),
    "constant": (
        "KNOWN_AFTER = 1",
        "KNOWN_AFTER = 2",
        {"sales": ["computation: KNOWN_AFTER = 1 -> KNOWN_AFTER = 2"]},
    ),
    "source": (
        'timestamp_field="event_timestamp"',
        'timestamp_field="event_timestamp", field_mapping={"pieces": "sold"}',
        {"sales": ["source field mapping pieces is new: sold"]},
    ),
    "on demand": ("FACTOR = 2", "FACTOR = 3", {"turnover": ["computation: FACTOR = 2 -> FACTOR = 3"]}),
    "request": (
        'name="price", dtype=Float64',
        'name="price", dtype=Int64',
        {"turnover": ["request price: DOUBLE -> INT64"]},
    ),
    "service": (
        'sales_view[["sold"]]',
        'sales_view[["sold", "kept"]]',
        {"feature_service": ['views sales features: ["sold"] -> ["kept", "sold"]']},
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named_by_view(tmp_path: Path, change: str) -> None:
    """What changes a feature changes the hash, and the view and the change are said."""
    old, new, expected = CHANGES[change]
    assert MODULE.count(old) == 1
    before, after = said(tmp_path), said(tmp_path, MODULE.replace(old, new))
    assert meaning_hash(before) != meaning_hash(after)
    assert differences(before, after) == expected


def test_code_that_is_long_is_named_by_what_it_is(tmp_path: Path) -> None:
    """A function that differs only beyond what is shown is said to have changed."""
    found = differences(said(tmp_path), said(tmp_path, MODULE.replace("_.at +", "_.at -")))
    assert found == {"sales": ["computation changed: def sales"]}


def test_label_rows_and_request_are_part_of_it(tmp_path: Path) -> None:
    """The moment of prediction and the request's columns are part of what a model's inputs mean."""
    before = said(tmp_path)
    later = said(tmp_path, label=LABEL.model_copy(update={"arguments": {"hours": 3}}))
    wider = said(tmp_path, request=("size", "colour"))
    assert differences(before, later) == {"label_rows": ["arguments hours: 2 -> 3"]}
    assert differences(before, wider) == {"request": ['["size"] -> ["size", "colour"]']}
    assert len({meaning_hash(document) for document in (before, later, wider)}) == 3


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    """People get ten lines and the number of those left out."""
    fields = "".join(f', Field(name="f{n}", dtype=Int64)' for n in range(12))
    before = said(tmp_path)
    after = said(
        tmp_path, MODULE.replace('Field(name="kept", dtype=Int64)', f'Field(name="kept", dtype=Int64){fields}')
    )
    assert listed(differences(before, after))[-1] == "and 2 more"
