"""What a table must look like when it crosses a stage: `types` says what a column is, `checks` what it may hold."""
