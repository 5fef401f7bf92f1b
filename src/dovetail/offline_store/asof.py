"""The SQL of point-in-time reads, as DuckDB understands it: text out of plain values, no Feast and no connection.

A feature row counts from the moment it is *known*: its event time, or its created time where that is later and
counts. Seen in the order they became known, most rows of a key are newer than all before; a row that is older than
one known already (a backfill) can never be the newest known one, and is dropped. What is left grows in both orders,
so `ASOF LEFT JOIN`, which takes the last row known at the label's moment, takes the one with the newest event too:
https://duckdb.org/docs/stable/guides/sql_features/asof_join
"""

from collections.abc import Sequence
from dataclasses import dataclass

# A total order, so that rows which differ in nothing but their values give the same choice in every run.
NEWEST = ("event DESC", "created DESC NULLS LAST", "filename DESC", "file_row_number DESC")


@dataclass(frozen=True)
class History:
    """The feature rows of one view, and which columns mean what.

    Args:
        rows: A relation in SQL, with the columns below and `filename, file_row_number`, which say where a row lies.
        keys: The join keys; none for a view without an entity.
        event: The event timestamp.
        created: The created timestamp; None when there is none.
        features: The columns to read.
        ttl: How old a value may get, in microseconds, that age included; None for ever.
    """

    rows: str
    keys: tuple[str, ...]
    event: str
    created: str | None
    features: tuple[str, ...] = ()
    ttl: int | None = None


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def text(value: str) -> str:
    """A value as an SQL string."""
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def moment(column: str) -> str:
    """A timestamp column of any unit, with a zone or without, as microseconds since 1970 UTC."""
    return f"epoch_us({quoted(column)}::TIMESTAMPTZ)"


@dataclass(frozen=True)
class Question:
    """What is asked of a history.

    The newest event wins; of one event the value created last, then the row that lies last in the files.

    Args:
        history: The feature rows.
        labels: A relation with `row_id`, `moment` and, in the order of `history.keys`, `key_0`, `key_1` and so on.
        span: The first and the last of the labels' moments.
        created_counts: Whether a value is unknown before its created timestamp; one without it is never known.
        labels_are_fewer: Whether there are fewer label rows than feature rows, so that it pays to look first which
            keys they have.
    """

    history: History
    labels: str
    span: tuple[int, int]
    created_counts: bool
    labels_are_fewer: bool = True

    def has_ties(self) -> str:
        """A query for one truth: whether two rows of a key became known at one moment, or it looks as if they had.

        Counting hashes takes a third of the time that choosing among the rows would take.
        """
        known = ", ".join([*self._keys, "known"])
        return f"{self._candidates()} SELECT count(*) > count(DISTINCT hash({known})) FROM candidates"  # noqa: S608

    def features(self, *, has_ties: bool) -> str:
        """A query for the features known at each label row's moment, one row a label row, in the order of `row_id`.

        Args:
            has_ties: What `has_ties` found; true is never wrong.

        Returns:
            Columns `feature_0`, `feature_1` and so on, null where nothing was known or it was older than `ttl`.
        """
        # A column less to be sorted, where both are one.
        event = "best.event" if self._by_created else "best.known"
        features = [_unless_expired(f"feature_{i}", event, self.history.ttl) for i in range(len(self.history.features))]
        on = " AND ".join([*(f"labels.{key} = best.{key}" for key in self._keys), "labels.moment >= best.known"])
        chosen = f"QUALIFY {_is_first([*self._keys, 'known'], NEWEST)}" if has_ties else ""
        return f"""
            {self._candidates()},
            latest AS (FROM candidates {chosen}),
            best AS ({_never_older(self._keys) if self._by_created else "FROM latest"})
            SELECT {", ".join(features)} FROM labels ASOF LEFT JOIN best ON {on} ORDER BY labels.row_id
        """  # noqa: S608 - names are quoted, all else is numbers

    @property
    def _keys(self) -> list[str]:
        return [f"key_{i}" for i in range(len(self.history.keys))]

    @property
    def _by_created(self) -> bool:
        return self.created_counts and self.history.created is not None

    def _candidates(self) -> str:
        """The beginning of a query: `labels`, and the `candidates` among the feature rows."""
        with_a_label = f"SEMI JOIN labels USING ({', '.join(self._keys)})" if self._keys else ""
        wanted = [*(f"{key} IS NOT NULL" for key in self._keys), _in_reach(self.span, self.history.ttl)]
        return f"""
            WITH labels AS (FROM {self.labels}),
            history AS (SELECT {_history_columns(self.history, self._by_created)} FROM {self.history.rows}),
            candidates AS (
                FROM history {with_a_label if self.labels_are_fewer else ""} WHERE {" AND ".join(wanted)}
            )
        """  # noqa: S608 - names are quoted, all else is numbers


def _history_columns(history: History, by_created: bool) -> str:
    """Names of our own, so that no column of a source can be mistaken for another."""
    event, created = moment(history.event), moment(history.created) if history.created else "NULL::BIGINT"
    known = f"CASE WHEN {created} > {event} THEN {created} WHEN {created} IS NOT NULL THEN {event} END"
    columns = {
        **{f"key_{i}": quoted(key) for i, key in enumerate(history.keys)},
        **{f"feature_{i}": quoted(feature) for i, feature in enumerate(history.features)},
        "event": event,
        "created": created,
        "known": known if by_created else event,
        "filename": "filename",
        "file_row_number": "file_row_number",
    }
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _in_reach(span: tuple[int, int], ttl: int | None) -> str:
    """Leaves out rows known too late or too old for any label; a null timestamp fails it as well."""
    first, last = span
    return f"known <= {last}" if ttl is None else f"known <= {last} AND event >= {first - ttl}"


def _never_older(keys: Sequence[str]) -> str:
    """The rows that, when they became known, were at least as new as all known before."""
    by = f"PARTITION BY {', '.join(keys)} " if keys else ""
    return f"FROM latest QUALIFY event = max(event) OVER ({by}ORDER BY known ROWS UNBOUNDED PRECEDING)"


def _unless_expired(feature: str, event: str, ttl: int | None) -> str:
    """The best row is the newest, so when it has expired there is none that has not."""
    if ttl is None:
        return f"best.{feature}"
    return f"CASE WHEN {event} >= labels.moment - {ttl} THEN best.{feature} END AS {feature}"


def events_between(histories: Sequence[tuple[History, Sequence[str]]], start: int, end: int) -> str:
    """A query for every event of several views in a span of time, both ends included.

    Args:
        histories: Each view's feature rows, and what its keys are called in the result.
        start: The first moment.
        end: The last moment.

    Returns:
        `event_timestamp` and the keys of all views (null where a view has not got them), each once, in order.
    """
    parts = []
    for history, names in histories:
        keys = [f"{quoted(key)} AS {quoted(name)}" for key, name in zip(history.keys, names, strict=True)]
        event = moment(history.event)
        columns = ", ".join([f"make_timestamptz({event}) AS event_timestamp", *keys])
        span = f"{event} BETWEEN {start} AND {end}"
        parts.append(f"SELECT DISTINCT {columns} FROM {history.rows} WHERE {span}")  # noqa: S608 - names are quoted
    return " UNION BY NAME ".join(parts) + " ORDER BY ALL"


def rows_between(history: History, start: int | None, end: int | None, *, latest_only: bool) -> str:
    """A query for a view's rows in a span of time, both ends included (None: open), under their own names.

    Timestamps come in UTC microseconds; the order is that of keys, event, created and place in the files. With
    `latest_only` there is one row a key: the newest event, of one event the value created last.
    """
    keys = [quoted(key) for key in history.keys]
    times = {column: moment(column) for column in (history.event, history.created) if column}
    place = ["filename", "file_row_number"]
    columns = [
        f"make_timestamptz({times[name]}) AS {quoted(name)}" if name in times else quoted(name)
        for name in dict.fromkeys((*history.keys, *history.features, *times))
    ]
    event = times[history.event]
    bounds = [f"{event} {sign} {bound}" for sign, bound in ((">=", start), ("<=", end)) if bound is not None]
    newest = [f"{column} DESC NULLS LAST" for column in (*times.values(), *place)]
    return f"""
        SELECT {", ".join(columns)} FROM {history.rows}
        WHERE {" AND ".join([f"{event} IS NOT NULL", *bounds])}
        {f"QUALIFY {_is_first(keys, newest)}" if latest_only else ""}
        ORDER BY {", ".join([*keys, *times.values(), *place])}
    """  # noqa: S608 - names are quoted, all else is numbers


def _is_first(partition: Sequence[str], order: Sequence[str]) -> str:
    """One row a partition, the first in an order."""
    by = f"PARTITION BY {', '.join(partition)} " if partition else ""
    return f"row_number() OVER ({by}ORDER BY {', '.join(order)}) = 1"
