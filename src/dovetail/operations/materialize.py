"""The newest feature values, brought online: the safe way to `feast materialize-incremental`."""

import logging
from datetime import UTC, datetime, timedelta

from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools.feature_store import online
from dovetail.tools.feature_store.configuration import feast_config
from dovetail.tools.feature_store.definitions import load_definitions

log = logging.getLogger(__name__)


def materialize(settings: Pipeline, workspace: Workspace) -> None:
    """Bring each view's rows online, from where the last run ended up to `usecase.until` or now, the earlier of both.

    Rows that came late are found again within `usecase.online.overlap_hours`. One run at a time; one that was ended
    in the middle is repeated without harm.

    Raises:
        FeatureError: the registry means something else than feature_repo/, feature tables are missing or wrong, the
            span is empty or negative, or another run is at it.
    """
    usecase = settings.usecase
    feature_repo = workspace.root / "feature_repo"
    definitions = load_definitions(feature_repo, usecase.name)
    online.check_tables(definitions, feature_repo)
    config = feast_config(feature_repo, workspace.profile.feature_store)
    end = min(usecase.until, datetime.now(UTC))
    with online.only_run(feature_repo / "online_store.db.lock"):
        for view, start, until in online.materialize(
            definitions, config, end, timedelta(hours=usecase.online.overlap_hours)
        ):
            log.info("%-22s %s to %s", view, f"{start:%Y-%m-%d %H:%M:%S}", f"{until:%Y-%m-%d %H:%M:%S}")
