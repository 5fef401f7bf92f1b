"""What a retrieval asks of a feature view, in plain column names: Feast's mappings and aliases end here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView

from dovetail.offline_store.asof import History
from dovetail.offline_store.moments import MICROSECOND


@dataclass(frozen=True)
class RequestedView:
    """One feature view as asked for.

    Args:
        source: Where its rows are.
        keys: The name in the label rows of each join key column of the source.
        features: The column of the source for each name in the result.
        event: The source's event timestamp column.
        created: The source's created timestamp column; None when it has none.
        ttl: The time to live in microseconds; None for ever.
    """

    source: DataSource
    keys: dict[str, str]
    features: dict[str, str]
    event: str
    created: str | None
    ttl: int | None

    @property
    def timestamps(self) -> list[str]:
        """The source's timestamp columns."""
        return [column for column in (self.event, self.created) if column]

    @property
    def columns(self) -> list[str]:
        """The source's columns that are read."""
        return [*self.keys, *self.features.values(), *self.timestamps]

    def history(self, relation: str) -> History:
        """The view's feature rows, in a relation."""
        return History(relation, tuple(self.keys), self.event, self.created, tuple(self.features.values()), self.ttl)


def requested_view(view: FeatureView, feature_refs: Sequence[str], full_feature_names: bool) -> RequestedView:
    """What a list of feature references (`view:feature`) asks of a view; its columns as the source calls them.

    A view without an entity has no keys. A time to live of zero is none, as everywhere in Feast.
    """
    source: Any = view.batch_source
    column_of = {feast_name: column for column, feast_name in (source.field_mapping or {}).items()}
    asked = [ref.partition(":") for ref in feature_refs]
    features = [feature for name, _, feature in asked if name == view.projection.name_to_use()]
    # A pinned version is asked for as `view@v2`, but its features are called after `view`.
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    keys = [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    created = source.created_timestamp_column or None
    return RequestedView(
        source=source,
        keys={column_of.get(key, key): view.projection.join_key_map.get(key, key) for key in keys},
        features={prefix + feature: column_of.get(feature, feature) for feature in features},
        event=column_of.get(source.timestamp_field, source.timestamp_field),
        created=column_of.get(created, created) if created else None,
        ttl=view.ttl // MICROSECOND if view.ttl else None,
    )
