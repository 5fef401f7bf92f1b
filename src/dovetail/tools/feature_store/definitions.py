"""What a use case defines in feature_repo/: Feast's objects, each view's computation, and the label rows."""

import difflib
import re
import runpy
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView
from feast.base_feature_view import BaseFeatureView

from dovetail.contracts.feature_tables import TIME
from dovetail.errors import FeatureError

MAX_FINDINGS = 10
NO_SUCH_FEATURE = re.compile(r"Feature (?P<feature>.+) does not exist in this feature view\.")


@dataclass(frozen=True)
class Definitions:
    """What feature_repo/NAME.py defines.

    Attributes:
        file: The module.
        source: Its text, as it was run.
        namespace: Its names, after it was run.
        service: Its feature service.
        views: Its feature views by name.
        on_demand_views: Its on-demand feature views by name, which Feast computes from others and from the request.
        feature_tables: The computation of each view's table, from the sources by name.
        label_rows: The computation of the label rows, from the sources and the settings' arguments.
        objects: All that `feast apply` would register.
    """

    file: Path
    source: str
    namespace: Mapping[str, Any]
    service: FeatureService
    views: Mapping[str, FeatureView]
    on_demand_views: Mapping[str, OnDemandFeatureView]
    feature_tables: Mapping[str, Callable[[Mapping[str, ibis.Table]], ibis.Table]]
    label_rows: Callable[..., ibis.Table]
    objects: tuple[Any, ...]

    @property
    def join_keys(self) -> list[str]:
        """The columns by which the service's views are joined to a label row, in alphabetical order."""
        projections = [p for p in self.service.feature_view_projections if p.name in self.views]
        return sorted({p.join_key_map.get(key, key) for p in projections for key in self.views[p.name].join_keys})

    @property
    def request_columns(self) -> list[str]:
        """The columns that the service's on-demand views take from the request, in alphabetical order."""
        asked = {p.name for p in self.service.feature_view_projections} & set(self.on_demand_views)
        return sorted({column for name in asked for column in self.on_demand_views[name].get_request_data_schema()})


def load_definitions(feature_repo: Path, usecase: str) -> Definitions:
    """What feature_repo/NAME.py defines. The module is run anew, and leaves no compiled file in the folder.

    Raises:
        FeatureError: the module is missing, or it lacks something; all it lacks is said.
    """
    file = feature_repo / f"{usecase}.py"
    if not file.exists():
        others = ", ".join(sorted(path.stem for path in feature_repo.glob("*.py")))
        raise FeatureError(
            f"the use case '{usecase}' has no feature definitions",
            where=f"at {file}",
            expected=f"Use cases there: {others or 'none'}.",
            todo="Write the module, or set usecase.name to one of them.",
        )
    namespace = _run(file)
    refuse(f"{file.name} breaks {{}} of the rules for feature definitions", list(_lacks(namespace)), file)
    return Definitions(
        file=file,
        source=file.read_text(encoding="utf-8"),
        namespace=namespace,
        service=_instances(namespace, FeatureService)[0],
        views={view.name: view for view in _instances(namespace, FeatureView)},
        on_demand_views={view.name: view for view in _instances(namespace, OnDemandFeatureView)},
        feature_tables=namespace["FEATURE_TABLES"],
        label_rows=namespace["label_rows"],
        objects=tuple(_instances(namespace, (Entity, BaseFeatureView, FeatureService))),
    )


def refuse(what: str, problems: list[str], file: Path) -> None:
    """Nothing, when there are no problems.

    Raises:
        FeatureError: `what`, with the number of problems in its braces, and the first ten of them.
    """
    if not problems:
        return
    shown = [f"\n  - {problem}" for problem in problems[:MAX_FINDINGS]]
    shown += [f"\n  and {len(problems) - MAX_FINDINGS} more"] * (len(problems) > MAX_FINDINGS)
    raise FeatureError(
        what.format(len(problems)) + "".join(shown),
        where=f"in {file}; nothing was written.",
        todo="Correct it and run again:  dvc repro featurize",
    )


def _run(file: Path) -> dict[str, Any]:
    """The module's names. Of a feature that a view has not got, Feast says neither the view nor what it has."""
    try:
        return runpy.run_path(str(file), run_name=file.stem)
    except ValueError as error:
        found = NO_SUCH_FEATURE.fullmatch(str(error))
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        view = frame.f_locals.get("self")
        if found is None or not isinstance(view, BaseFeatureView):
            raise
        features = [field.name for field in view.features]
        near = difflib.get_close_matches(found["feature"], features, n=3, cutoff=0.5)
        lines = [
            line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)
        ]
        raise FeatureError(
            f"the feature view '{view.name}' has no feature '{found['feature']}'"
            + (f"; nearest: {', '.join(near)}" if near else ""),
            where=f"at {file}:{lines[-1]}",
            expected=f"It has: {', '.join(features[:40])}.",
            todo="Correct the name, or add the field to the view's schema.",
        ) from error


def _lacks(namespace: Mapping[str, Any]) -> Iterator[str]:
    if (n_services := len(_instances(namespace, FeatureService))) != 1:
        yield f"it has {n_services} feature services, not one"
    for service in _instances(namespace, FeatureService):
        # Feast resolves text when it applies, so until then nobody knows what the service means (0.67.0).
        for name in service._pending_feature_refs:
            yield f"feature service '{service.name}' names '{name}' as text, not as a view, or view[['feature']]"
    yield from (f"'{name}' is missing" for name in ("FEATURE_TABLES", "label_rows") if name not in namespace)
    views = {view.name: view for view in _instances(namespace, FeatureView)}
    tables = namespace.get("FEATURE_TABLES", {})
    yield from (
        f"feature view '{name}' has no computation in FEATURE_TABLES" for name in sorted(set(views) - set(tables))
    )
    yield from (f"FEATURE_TABLES['{name}'] has no feature view" for name in sorted(set(tables) - set(views)))
    for name, view in views.items():
        if not view.entity_columns:
            yield f"feature view '{name}' has no key in its schema"
        written = f"../data/features/{name}.parquet"
        if view.batch_source is None or view.batch_source.path != written:
            yield f"feature view '{name}' does not read {written}, where its table is written"
        elif view.batch_source.timestamp_field != TIME:
            yield f"feature view '{name}' has the timestamp_field '{view.batch_source.timestamp_field}', not '{TIME}'"
        elif view.batch_source.created_timestamp_column:
            # A row is known from its event timestamp on: a correction is a row of its own, at the moment it was known.
            yield f"feature view '{name}' has a created timestamp; write a correction as a row with its own {TIME}"
    features = Counter(field.name for view in views.values() for field in view.features)
    yield from (f"the feature '{name}' is in {n} views" for name, n in features.items() if n > 1)


def _instances(namespace: Mapping[str, Any], kind: Any) -> list[Any]:
    return list({id(value): value for value in namespace.values() if isinstance(value, kind)}.values())
