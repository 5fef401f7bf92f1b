"""What depends on time or on a decision: one module a command. Never cached; each leaves a record."""
