"""The stage `ingest`: sources as they are -> typed Parquet, as much of them as exists at `until`."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dovetail.errors import SourceError
from dovetail.files import sha256, write_json, write_parquet
from dovetail.settings.schema import Pipeline, Source
from dovetail.settings.workspace import Workspace
from dovetail.tools import sources

log = logging.getLogger(__name__)


def ingest(settings: Pipeline, workspace: Workspace) -> None:
    """Write data/raw/SOURCE.parquet for each source, sorted by its key, and data/raw/manifest.json.

    All of them take their places at the end, or none does.

    Raises:
        SourceError: one or more sources cannot be read; all of them are named.
        DiskFullError: no space is left.
    """
    wanted = settings.usecase.sources
    log.info("ingest: reading %d sources until %s", len(wanted), settings.usecase.until.isoformat())
    tables = read_all(settings, workspace)
    with TemporaryDirectory(dir=workspace.write("data/raw/manifest.json").parent, prefix=".side.") as side:
        manifest = {}
        for name, table in tables.items():
            path = Path(side, f"{name}.parquet")
            write_parquet(table, path)
            manifest[name] = entry(wanted[name], table, path)
        write_json(manifest, Path(side, "manifest.json"))
        for path in sorted(Path(side).iterdir()):
            path.replace(workspace.write(f"data/raw/{path.name}"))
    rows = ", ".join(f"{name} {table.num_rows:,}" for name, table in tables.items())
    log.info("ingest: wrote data/raw (rows: %s)", rows)


def read_all(settings: Pipeline, workspace: Workspace) -> dict[str, pa.Table]:
    """Each source's rows by its name.

    Raises:
        SourceError: one or more sources cannot be read; all of them are named.
    """
    tables, errors = {}, []
    for name, source in settings.usecase.sources.items():
        try:
            tables[name] = sources.read(
                name, source, workspace.profile.connections, settings.usecase.until, workspace.root
            )
        except SourceError as error:
            errors.append(error)
    if errors:
        raise together(errors, len(settings.usecase.sources))
    return tables


def together(errors: list[SourceError], n_sources: int) -> SourceError:
    """One error that says all that the errors say; the error itself when there is one."""
    if len(errors) == 1:
        return errors[0]
    return SourceError(
        f"{len(errors)} of {n_sources} sources cannot be read",
        where="\n  ".join(f"- {error.what}\n      {error.where}\n      {error.todo}" for error in errors),
        expected="Nothing was written.",
        todo="Mend them all, then:  dvc repro",
    )


def entry(source: Source, table: pa.Table, path: Path) -> dict[str, Any]:
    """What the manifest says of a source: where it comes from, what came, and the hash of the file that holds it."""
    times = table[source.time] if source.time in table.column_names else pa.chunked_array([], pa.null())
    return {
        "kind": source.kind,
        "from": sources.origin(source),
        "rows": table.num_rows,
        "sha256": sha256(path),
        "columns": {field.name: str(field.type) for field in table.schema},
        "first": moment(pc.min(times)),
        "last": moment(pc.max(times)),
    }


def moment(value: pa.Scalar) -> str | None:
    """A time as people write it; None when there is none, or when the source's times are no times."""
    return value.as_py().isoformat() if value.is_valid and pa.types.is_timestamp(value.type) else None
