"""A registry as bytes that tell whether they are whole.

Half a protobuf message is often a message, and nothing at all is an empty one. So a registry ends with a seal: a field
that Feast does not know, and reads over, with the SHA-256 of all before it. What Feast's own store writes has none,
and is known by its version id.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from feast.protos.feast.core.Registry_pb2 import Registry
from google.protobuf.message import DecodeError

# Field 18977, length-delimited, 32 bytes: https://protobuf.dev/programming-guides/encoding/
SEAL = b"\x8a\xa2\x09\x20"
SEAL_LENGTH = len(SEAL) + hashlib.sha256().digest_size
# What the version id of a sealed registry begins with, so that one that has lost its seal is known.
MARK = "sealed-"
# What Feast's own store writes there; without a seal, nobody can say whether that is whole.
FEASTS_OWN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class FeatureRegistryError(ValueError):
    """The registry cannot be read or written safely: what, where, what was expected, what to do."""

    def __init__(self, what: str, *, where: str, expected: str, todo: str) -> None:
        self.what, self.where, self.expected, self.todo = what, where, expected, todo
        super().__init__("\n  ".join([what, where, expected, todo]))


def sealed(registry: Registry) -> bytes:
    """The registry's bytes, with a seal."""
    payload: bytes = registry.SerializeToString(deterministic=True)
    return payload + SEAL + hashlib.sha256(payload).digest()


def opened(content: bytes, path: Path) -> Registry:
    """The registry in the bytes.

    Raises:
        FeatureRegistryError: they are empty, cut off, altered, or no registry; the message says what brings back the
            newest version that is whole.
    """
    payload, seal = content[:-SEAL_LENGTH], content[-SEAL_LENGTH:]
    is_sealed = seal.startswith(SEAL)
    registry = Registry()
    try:
        registry.ParseFromString(payload if is_sealed else content)
    except DecodeError as error:
        raise _damaged("it cannot be read" if content else "it is empty", path) from error
    if not registry.version_id:
        raise _damaged("it is empty" if not content else "it has no version", path)
    is_whole_seal = seal == SEAL + hashlib.sha256(payload).digest()
    if not (is_whole_seal or FEASTS_OWN.fullmatch(registry.version_id)):
        raise _damaged("it is not what was written", path)
    return registry


def definitions(registry: Registry) -> list[bytes]:
    """What the registry defines, without what changes as features are brought online."""
    listed = [value for field, value in registry.ListFields() if field.is_repeated]
    return sorted(_spec(thing) for things in listed for thing in things if hasattr(thing, "spec"))


def _spec(thing: Any) -> bytes:
    """What was said of a thing; its source carries times, and a class that Feast writes only sometimes."""
    spec = type(thing.spec)()
    spec.CopyFrom(thing.spec)
    for _, part in spec.ListFields():
        if hasattr(part, "data_source_class_type"):
            part.ClearField("meta")
            part.ClearField("data_source_class_type")
    return bytes(spec.SerializeToString(deterministic=True))


def backups(path: Path) -> list[Path]:
    """The versions that are kept, the newest first."""
    return sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda kept: int(kept.suffix[1:]))


def _damaged(what: str, path: Path) -> FeatureRegistryError:
    newest = next((kept for kept in backups(path) if is_whole(kept)), None)
    return FeatureRegistryError(
        f"the feature registry is damaged: {what}",
        where=f"at {path}; it was not touched.",
        expected=f"Expected: what was written last; {f'{newest} is whole' if newest else 'no version is kept'}.",
        todo=f"Restore it:  cp {newest} {path}" if newest else f"Make it anew:  rm {path}  and apply again",
    )


def is_whole(path: Path) -> bool:
    """Whether a file holds a registry that is whole."""
    try:
        opened(path.read_bytes(), Path("/nowhere") / path.name)
    except (FeatureRegistryError, OSError):
        return False
    return True
