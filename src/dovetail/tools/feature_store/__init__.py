"""Feast, and the Ibis expressions beside its views: definitions, their tables, and features off and online."""
