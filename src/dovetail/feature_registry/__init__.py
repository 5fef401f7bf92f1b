"""A Feast registry file that is whole or not written: locked, checked, renamed, and kept some versions back.

It stands alone: nothing of it imports the rest of Dovetail. In `feature_store.yaml`:

    registry:
      registry_store_type: dovetail.feature_registry.GuardedFileRegistryStore
      path: registry.db
"""

from dovetail.feature_registry.sealed import FeatureRegistryError
from dovetail.feature_registry.store import GuardedFileRegistryStore, exclusive

__all__ = ["FeatureRegistryError", "GuardedFileRegistryStore", "exclusive"]
