"""Pages that people decide by: pure functions of records, one self-contained HTML file each."""
