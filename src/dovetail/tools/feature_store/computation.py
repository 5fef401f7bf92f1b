"""What a piece of a Python module computes: itself and every name of the module it needs, as hashes.

Comments, docstrings, formatting and the parts of the module that it does not use change nothing; a constant or a
function that it uses, however far away, does.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAX_TEXT = 100


@dataclass(frozen=True)
class Module:
    """A module's text.

    Args:
        source: The text.
        described: Names that are described in another way, and are not followed.
    """

    source: str
    described: Set[str] = frozenset()

    @cached_property
    def _statements(self) -> list[tuple[ast.stmt, set[str], set[str]]]:
        """The statements at the top, each with the names that it binds and the names that it uses."""
        return [(node, set(_bound(node)), set(_used(node))) for node in ast.parse(self.source).body]

    def computation(self, root: str, key: str | None = None) -> dict[str, dict[str, str]]:
        """What a name computes; with a key, what that entry of a dictionary display computes.

        Returns:
            For each name that it needs, itself first: the `hash` of all statements that make it, and the beginning
            of their `text`, for people.
        """
        entry = self._entry(root, key) if key is not None else None
        found: dict[str, dict[str, str]] = {}
        todo = [root] if entry is None else sorted(set(_used(entry)))
        if entry is not None and not isinstance(entry, ast.Name):
            found[f"{root}[{key!r}]"] = _described([entry])
        while todo:
            name = todo.pop(0)
            if name in found or name in self.described:
                continue
            made = self._made(name)
            if made:
                found[name] = _described(made)
                todo += sorted({other for node in made for other in _used(node)} - set(found))
        return found

    def _made(self, name: str) -> list[ast.stmt]:
        """The statements that bind a name, or may do something to it: `WINDOWS["7d"] = ...`, `WINDOWS.update(...)`."""
        return [
            node for node, bound, used in self._statements if name in bound or (name in used and not _only_binds(node))
        ]

    def _entry(self, root: str, key: str) -> ast.expr | None:
        """The value of a key, when the dictionary is made by one display of constant keys and by nothing else."""
        made = self._made(root)
        display = getattr(made[0], "value", None) if len(made) == 1 else None
        if not isinstance(display, ast.Dict):
            return None
        keys = [node.value if isinstance(node, ast.Constant) else None for node in display.keys]
        return display.values[keys.index(key)] if None not in keys and key in keys else None


def text_hash(source: str) -> str:
    """SHA-256 of what a module's text says: comments, docstrings and formatting change nothing."""
    return hashlib.sha256(json.dumps(_meaning(ast.parse(source)), sort_keys=True).encode()).hexdigest()


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its own scope."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if not isinstance(node, ast.Lambda | ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _only_binds(node: ast.stmt) -> bool:
    """Whether a statement makes names and leaves others as they are."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _used(node: ast.AST) -> Iterator[str]:
    return (child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load))


def _described(nodes: list[Any]) -> dict[str, str]:
    said = json.dumps([_meaning(node) for node in nodes], sort_keys=True)
    text = "; ".join(_headline(node) for node in nodes)
    return {"hash": hashlib.sha256(said.encode()).hexdigest(), "text": text[:MAX_TEXT]}


def _headline(node: ast.AST) -> str:
    """The text; of a function or a class its name."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"{'class' if isinstance(node, ast.ClassDef) else 'def'} {node.name}"
    return ast.unparse(node)


def _meaning(node: Any) -> Any:
    """A syntax tree without what says nothing: positions, docstrings, empty fields (which differ between Pythons)."""
    if isinstance(node, list):
        said = [item for item in node if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
        return [_meaning(item) for item in said]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    return [type(node).__name__, {name: _meaning(value) for name, value in fields.items()}]
