"""The names a user asks by, against those that there are: what is not there is said with what is nearest."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

# What Feast itself reads a reference with, `view@v2:feature` and `view@latest:feature` too (0.67.0).
from feast.utils import _parse_feature_ref

from dovetail.offline_store.moments import OfflineStoreError

MAX_FINDINGS = 10


def features_by_view(feature_refs: Sequence[str]) -> dict[str, list[str]]:
    """The features asked for of each view, each once, in their order; a pinned version is a view of its own."""
    asked: dict[str, dict[str, None]] = {}
    for ref in feature_refs:
        view, version, feature = _parse_feature_ref(ref)
        asked.setdefault(view if version is None else f"{view}@v{version}", {})[feature] = None
    return {view: list(features) for view, features in asked.items()}


def check_features(asked: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]]) -> None:
    """Nothing, when each feature asked for is one of its view's.

    Raises:
        OfflineStoreError: views or features are not there; all of them, each with the nearest names.
    """
    wrong = []
    for view, features in asked.items():
        missing = [feature for feature in features if feature not in known.get(view, ())]
        if view in known:
            wrong += [
                f"{view}:{feature}: the view has {_nearest_or_first(feature, known[view])}" for feature in missing
            ]
        else:
            wrong += [f"{view}:{feature}: the views are {_nearest_or_first(view, list(known))}" for feature in missing]
    if wrong:
        shown = [*wrong[:MAX_FINDINGS], *[f"and {len(wrong) - MAX_FINDINGS} more"] * (len(wrong) > MAX_FINDINGS)]
        raise OfflineStoreError(
            f"{len(wrong)} of the features asked for are not there" + "".join(f"\n  - {finding}" for finding in shown),
            where="nothing was joined.",
            expected="Expected: features of the views, as view:feature.",
            todo="Correct the names, or add the fields and apply:  feast apply",
        )


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The known names that look most like a name, at most three."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[one] for one in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]


def _nearest_or_first(name: str, known: Sequence[str]) -> str:
    return ", ".join(nearest(name, known) or known[:MAX_FINDINGS]) or "none"
