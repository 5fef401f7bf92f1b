"""Tables in a terminal."""

from dovetail.text import table


def test_columns_are_aligned() -> None:
    """The first column stands left, numbers right; no line ends with spaces."""
    assert table([("view", "n"), ("a", "12"), ("long", "7")], right=True) == "view   n\na     12\nlong   7"
    assert table([("view", "what"), ("a", "x")], right=False) == "view  what\na     x"
