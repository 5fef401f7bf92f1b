"""The SQLite file in which MLflow keeps its records, as this MLflow makes it.

MLflow migrates an older database whenever it meets one, even to read a line (3.17), and the MLflow that made it can
then no longer use it. So the database's revision is looked at before MLflow is.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from dovetail.errors import TrackingError

# Of MLflow 3.17.2: the last of its mlflow/store/db_migrations.
REVISION = "dc11669786a5"


def revision(database: Path) -> str | None:
    """The revision of the tables in a SQLite file; None when there are none yet, or no file.

    Raises:
        TrackingError: the file is no database.
    """
    if not database.exists() or database.stat().st_size == 0:
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            return None
        raise TrackingError(
            f"MLflow's database cannot be read: {error}",
            where=f"at {database}  (profile.mlflow.tracking_uri)",
            todo="Restore it from a copy, or move it away and make its records again:  python -m dovetail mend",
        ) from error
    return str(rows[0][0]) if rows else None


def demand_own(database: Path) -> None:
    """Nothing, if the SQLite file is of this MLflow, or not made yet.

    Raises:
        TrackingError: another MLflow made it, or it is no database; nothing of it was changed.
    """
    copy = f"cp {database} {database}.before && "
    demand_revision(revision(database), str(database), f"{copy}mlflow db upgrade sqlite:///{database}")


def demand_revision(found: str | None, place: str, todo: str) -> None:
    """Nothing, if the tables of a database are of this MLflow's revision, or there are none.

    Args:
        found: Their revision; None when there are none.
        place: Where the database is, without secrets.
        todo: The command that would take over an older one.

    Raises:
        TrackingError: another MLflow made them.
    """
    if found in (None, REVISION):
        return
    raise TrackingError(
        f"the database is another MLflow's: its tables are of revision {found}, those of MLflow 3.17.2 of {REVISION}",
        where=f"at {place}  (profile.mlflow.tracking_uri); nothing of it was changed.",
        expected="An older one can be taken over, for good; a newer one needs the newer MLflow.",
        todo=f"Keep a copy, then take it over:  {todo}",
    )
