"""What differs between two points: all that can have made a model better or worse, by the part that it belongs to."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dovetail.files import read_parquet
from dovetail.operations.compare.builds import Build
from dovetail.operations.compare.points import MAKE_ROWS, RAW, Point
from dovetail.science.changes import TableChange, table_change
from dovetail.settings.composition import differences as settings_differences
from dovetail.tools import data_versions, git
from dovetail.tools.feature_store.computation import text_hash

Part = Literal["data", "features", "settings", "code", "environment", "seed"]
# What is data, and what no model is made of.
_NOT_SETTINGS = ("usecase.until", "usecase.split.holdout", "usecase.split.suspicious_auc")
# With these `train` draws, records and keeps the model that the others make.
_RECORDS = ("src/dovetail/contracts/", "src/dovetail/science/pictures.py", "src/dovetail/tools/")
_LOCK = "requirements.lock"
MOST_COLUMNS = 4


@dataclass(frozen=True)
class Difference:
    """One thing that differs; `rows`: it can change the rows that models see, not only the model."""

    part: Part
    said: str
    rows: bool


def differences(old: tuple[Point, Build], new: tuple[Point, Build], root: Path) -> list[Difference]:
    """All that differs, part by part."""
    points, builds = (old[0], new[0]), (old[1], new[1])
    known = points[1] if points[1].commit else points[0]
    stages = yaml.safe_load(git.show(root, _files(known), "dvc.yaml"))["stages"]
    return [
        *(Difference("data", said, True) for said in _data(*builds, root)),
        *(Difference("features", said, True) for said in _features(*builds)),
        *_settings(*builds, stages),
        *_code(*points, stages, root),
        *(Difference("environment", said, True) for said in _environment(*points, root)),
    ]


def causes(found: list[Difference]) -> frozenset[Literal["data", "model"]]:
    """What can have changed a metric: the data, or anything else that a model is made of; a seed is no cause."""
    return frozenset(
        "data" if difference.part == "data" else "model" for difference in found if difference.part != "seed"
    )


def _data(old: Build, new: Build, root: Path) -> Iterator[str]:
    if old.hashes[RAW] == new.hashes[RAW]:
        return
    before, after = (build.params["usecase"]["until"] for build in (old, new))
    if before != after:
        yield f"until {before} -> {after}"
    for name in dict.fromkeys([*old.sources, *new.sources]):
        was, is_ = old.sources.get(name), new.sources.get(name)
        if was is None or is_ is None:
            yield f"source {name} is {'new' if was is None else 'gone'}"
        elif was["sha256"] != is_["sha256"]:
            yield f"source {name}: {_said(_source_change(old, new, name, root))}"


def _source_change(old: Build, new: Build, name: str, root: Path) -> TableChange:
    """What differs between the versions of a source that DVC's cache has."""
    cache = data_versions.cache_folder(root)
    hashes = [data_versions.files(cache, RAW, build.hashes[RAW])[f"{RAW}/{name}.parquet"] for build in (old, new)]
    before, after = (read_parquet(data_versions.object_path(cache, md5)).to_pandas() for md5 in hashes)
    source = new.params["usecase"]["sources"][name]
    return table_change(before, after, source["key"], source.get("time"))


def _said(change: TableChange) -> str:
    """The change in words, like `56,105 rows came; arr_delay differs on 12 from 2013-03-10`."""
    said = [f"{n:,} rows {fate}" for n, fate in ((change.came, "came"), (change.left, "left")) if n]
    for column in change.columns[:MOST_COLUMNS]:
        since = "" if column.since is None else f" from {column.since:%Y-%m-%d}"
        said.append(f"{column.name} differs on {column.rows:,}{since}")
    more = len(change.columns) - MOST_COLUMNS
    return "; ".join([*said, *([f"and {more} columns more"] if more > 0 else [])]) or "the same rows, stored otherwise"


def _features(old: Build, new: Build) -> Iterator[str]:
    if old.meaning == new.meaning:
        return
    from dovetail.tools.feature_store import meaning  # Feast takes seconds

    for part, all_said in meaning.differences(dict(old.meaning), dict(new.meaning)).items():
        # The request and the labels' arguments are settings, and are said there.
        if part != "request":
            yield from (f"{part}: {said}" for said in all_said if not said.startswith("arguments "))


def _settings(old: Build, new: Build, stages: Mapping[str, Any]) -> Iterator[Difference]:
    # What `ingest` does is in the raw data itself.
    of_rows = {key for stage in MAKE_ROWS for key in stages[stage].get("params", [])}
    of_models = of_rows | set(stages["train"].get("params", []))
    for key, (before, after) in settings_differences(dict(old.params), dict(new.params)).items():
        if key.startswith(_NOT_SETTINGS) or not _is_under(key, of_models):
            continue
        part: Part = "seed" if key.rpartition(".")[2] == "seed" else "settings"
        yield Difference(part, f"{key}: {before} -> {after}", _is_under(key, of_rows))


def _code(old: Point, new: Point, stages: Mapping[str, Any], root: Path) -> Iterator[Difference]:
    if not (old.commit and new.commit):
        yield Difference("code", "nobody knows: one was trained with changes that were never committed", False)
        return
    before, after = (git.blobs(root, _files(point), ["src"]) for point in (old, new))
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    for path in changed:
        used = [stage for stage in MAKE_ROWS if _is_dependency(path, stages[stage]["deps"])]
        if _is_dependency(path, stages["train"]["deps"]) and not path.startswith(_RECORDS):
            used.append("train")
        if used and not (path in before and path in after and _says_the_same(old, new, path, root)):
            yield Difference("code", f"{path} ({', '.join(used)})", used != ["train"])


def _says_the_same(old: Point, new: Point, path: str, root: Path) -> bool:
    before, after = (git.show(root, _files(point), path).decode() for point in (old, new))
    return path.endswith(".py") and text_hash(before) == text_hash(after)


def _environment(old: Point, new: Point, root: Path) -> Iterator[str]:
    if not (old.commit and new.commit):
        return
    before, after = (_locked(root, point) for point in (old, new))
    for package in sorted({*before, *after}):
        was, is_ = before.get(package, "-"), after.get(package, "-")
        if was != is_:
            yield f"{package} {was} -> {is_}"


def _locked(root: Path, point: Point) -> dict[str, str]:
    lock = git.show(root, _files(point), _LOCK).decode()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))


def _files(point: Point) -> str:
    return point.files or point.commit


def _is_under(key: str, prefixes: set[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _is_dependency(path: str, dependencies: list[str]) -> bool:
    return any(path == dependency or path.startswith(f"{dependency}/") for dependency in dependencies)
