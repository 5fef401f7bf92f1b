"""HTML whose text cannot turn into markup: a string is escaped unless it was made here."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

# These have no content and no end: https://html.spec.whatwg.org/multipage/syntax.html#void-elements
_VOID = frozenset({"meta", "br"})
Content: TypeAlias = "str | Iterable[Content] | None"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """An element. Strings in it are escaped, lists are flattened, None is left out.

    An attribute is named in Python's way: `class_` is class, `stroke_width` is stroke-width, and None is left out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{join(content)}</{name}>")


def join(content: Content) -> Html:
    """The content as markup, one piece after the other."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(content))
    return Html("".join(map(join, content)))
