"""Feast's online stores on SQLite, PostgreSQL and Redis with one meaning: the newest event, while it is alive.

- The newest event wins, whenever it is written; of one event the value created last; where that is equal or unknown,
  the value written last.
- A value is served for its view's time to live, that age included, and not before its event. After it, the reply has
  null and the status OUTSIDE_MAX_AGE.
- Timestamps keep their microseconds, in whatever time zone the process runs.

It stands alone: nothing of it imports the rest of Dovetail. In `feature_store.yaml`, one of

    online_store: {type: dovetail.online_store.sqlite.FreshSqliteOnlineStore, path: online_store.db}
    online_store: {type: dovetail.online_store.postgres.FreshPostgreSQLOnlineStore, host: ..., ...}
    online_store: {type: dovetail.online_store.redis.FreshRedisOnlineStore, connection_string: ...}
"""
