"""Text that people read in a terminal."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], *, right: bool) -> str:
    """Rows as aligned columns, a line each; all columns but the first are aligned on the right, or on the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        padded = [
            f"{text:>{width}}" if right else f"{text:<{width}}" for text, width in zip(others, widths[1:], strict=True)
        ]
        lines.append("  ".join([f"{first:<{widths[0]}}", *padded]).rstrip())
    return "\n".join(lines)
