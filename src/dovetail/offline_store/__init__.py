"""A Feast offline store on DuckDB: point-in-time joins of any size as one ASOF join a feature view.

It stands alone: nothing of it imports the rest of Dovetail. In `feature_store.yaml`:

    offline_store:
      type: dovetail.offline_store.DuckDBAsofOfflineStore
"""

from dovetail.offline_store.moments import OfflineStoreError
from dovetail.offline_store.store import DuckDBAsofOfflineStore, DuckDBAsofOfflineStoreConfig

__all__ = ["DuckDBAsofOfflineStore", "DuckDBAsofOfflineStoreConfig", "OfflineStoreError"]
