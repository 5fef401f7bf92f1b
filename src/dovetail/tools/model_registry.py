"""Model versions and their aliases in MLflow's registry. Every function takes the client of `experiments.connect`."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as _MLflowVersion
from mlflow.exceptions import MlflowException

from dovetail.contracts import journal, model_folders
from dovetail.errors import ModelUnavailableError, NoChampionError
from dovetail.files import read_json, sha256
from dovetail.lineage import EVIDENCE, GATE_RECORD, MEANING_FILE, MODEL_FILES, RUN_ID

CHAMPION, CHALLENGER = journal.CHAMPION, "challenger"
MOST = 10
_INSTEAD = (
    "Do not load it. Restore the artifact store, make the model again (python -m dovetail mend), or go back to the "
    "last good one:  python -m dovetail rollback reason='…'"
)


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, as the registry has it."""

    name: str
    version: int
    run_id: str
    source: str
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def key(self) -> journal.Key:
        """How the journal names it: the number, and the digest of its files."""
        return self.version, journal.digest_of(self.tags)


def register(
    client: MlflowClient, name: str, *, run_id: str, model_id: str, model_uri: str, tags: Mapping[str, str]
) -> ModelVersion:
    """The version made of a run's model, with the tags.

    The same run gives the same version again, with the tags as they are now: its evaluation may be a newer one.
    """
    try:
        client.create_registered_model(name, description=_about(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    existing = [v for v in client.search_model_versions(f"name='{name}'") if v.tags.get(RUN_ID) == run_id]
    made = existing or [
        client.create_model_version(
            name,
            source=model_uri,
            run_id=run_id,
            model_id=model_id,
            tags={**tags, RUN_ID: run_id},
            description="Not judged yet. The gate is asked by `python -m dovetail promote`.",
        )
    ]
    found = _record(made[0])
    for key, value in tags.items():
        if found.tags.get(key) != value:
            client.set_model_version_tag(name, str(found.version), key, value)
    return found


def _about(name: str) -> str:
    """For people, in Markdown. MLflow's UI makes a link to GitHub of a word that starts with an @ (3.17)."""
    return (
        f"Models of the use case '{name}'. In production is the version with the alias `{CHAMPION}`; `{CHALLENGER}` is "
        "the one that the gate is asked about next. Each version's description says what the gate found.\n\n"
        f"`python -m dovetail promote` asks the gate and moves the alias. Who moved one, and why, is in the experiment "
        f"'{name} journal', and told by `python -m dovetail history`."
    )


def without_alias(client: MlflowClient, name: str, alias: str) -> NoChampionError:
    """The error that no version has the alias; it lists the aliases there are."""
    n_versions, aliases = _aliases(client, name)
    listed = ", ".join(f"{known} -> {version}" for known, version in sorted(aliases.items())) or "none"
    return NoChampionError(
        f"no version of model '{name}' has the alias '{alias}'",
        where=f"in the model registry ({n_versions} versions; aliases: {listed}).",
        todo="Promote one first:  python -m dovetail promote" if n_versions else "Make one first:  make run",
    )


def with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    """The version that the alias points to.

    Raises:
        NoChampionError: no version has the alias; the message lists the aliases there are.
    """
    found = find_alias(client, name, alias)
    if found is None:
        raise without_alias(client, name, alias)
    return found


def find_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that the alias points to; None when there is none."""
    _, aliases = _aliases(client, name)
    return _record(client.get_model_version(name, str(aliases[alias]))) if alias in aliases else None


def find_version(client: MlflowClient, name: str, version: int) -> ModelVersion | None:
    """The version; None when it does not exist."""
    try:
        return _record(client.get_model_version(name, str(version)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def get_version(client: MlflowClient, name: str, version: int) -> ModelVersion:
    """The version.

    Raises:
        ModelUnavailableError: it does not exist; the message lists those that do.
    """
    found = find_version(client, name, version)
    if found is None:
        numbers = sorted((int(v.version) for v in client.search_model_versions(f"name='{name}'")), reverse=True)
        newest = ", ".join(map(str, numbers[:MOST])) + (f" and {len(numbers) - MOST} more" if numbers[MOST:] else "")
        raise ModelUnavailableError(
            f"there is no version {version} of model '{name}'",
            where=f"in the model registry ({len(numbers)} versions{f': {newest}' if numbers else ''}).",
            todo="See what happened to which:  python -m dovetail history" if numbers else "Make one first:  make run",
        )
    return found


def listed(client: MlflowClient, name: str) -> str:
    """The model's versions and aliases, for people: `versions 1, 2; aliases champion -> 1`."""
    _, aliases = _aliases(client, name)
    numbers = sorted(int(version.version) for version in client.search_model_versions(f"name='{name}'"))
    held = ", ".join(f"{alias} -> {version}" for alias, version in sorted(aliases.items())) or "none"
    return f"versions {', '.join(map(str, numbers[-MOST:])) or 'none'}; aliases {held}"


def in_use(client: MlflowClient) -> Iterator[tuple[ModelVersion, str]]:
    """Each version that is champion or challenger, of every registered model by name, with its aliases."""
    for model in sorted(client.search_registered_models(), key=lambda model: str(model.name)):
        _, aliases = _aliases(client, model.name)
        held = {alias: aliases[alias] for alias in (CHAMPION, CHALLENGER) if alias in aliases}
        for number in dict.fromkeys(held.values()):
            version = _record(client.get_model_version(model.name, str(number)))
            yield version, ", ".join(alias for alias, holds in held.items() if holds == number)


def annotate(
    client: MlflowClient, version: ModelVersion, *, tags: Mapping[str, str], description: str | None = None
) -> None:
    """Write what people read (the description; None leaves it) and what they search by (the tags) on the version."""
    if description is not None:
        client.update_model_version(version.name, str(version.version), description=description)
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)


@contextmanager
def model_file(version: ModelVersion) -> Iterator[Path]:
    """The version's model.skops, as `verified_file`: what its manifest says, and nothing else, comes out.

    Raises:
        ModelUnavailableError: the version has no manifest, or as `verified_file`.
    """
    manifest = model_folders.from_tag(version.tags.get(MODEL_FILES))
    if not manifest:
        raise ModelUnavailableError(
            f"{version} is refused: it has no manifest of its files, so nobody can say whose they are",
            where=f"its tag {MODEL_FILES} is missing: `register` did not make it.",
            todo=_INSTEAD,
        )
    place = MlflowClient().get_model_version_download_uri(version.name, str(version.version))
    with verified_file(place, manifest, str(version)) as path:
        yield path


@contextmanager
def verified_file(place: str, manifest: Mapping[str, str], subject: str) -> Iterator[Path]:
    """The model.skops of a model's folder, in a private copy that goes when the block ends: the one way out.

    Nothing is parsed before every file of the folder is what the manifest says, and nothing is handed out that our
    own lists do not allow, whatever the folder says of itself.

    Args:
        place: URI of the folder in the artifact store.
        manifest: Path -> SHA-256 of every file that was there when the model was made.
        subject: How an error calls the model.

    Raises:
        ModelUnavailableError: the files are gone, are not those of the manifest, or are not safe to load.
    """
    local = _local(place)
    others = model_folders.irregular(local) if local else {}
    # A copy follows links, and waits for pipes: they are refused where they lie.
    _refuse(subject, place, [f"{path} is a {kind}" for path, kind in others.items() if kind != "folder"])
    with tempfile.TemporaryDirectory(prefix="dovetail-model-") as private:
        folder = _fetch(place, Path(private), subject)
        _refuse(subject, place, model_folders.differences(manifest, model_folders.digests(folder)))
        _refuse(subject, place, model_folders.unsafe(folder))
        yield folder / model_folders.MODEL_FILE


def _refuse(subject: str, place: str, reasons: Sequence[str]) -> None:
    if reasons:
        more = [f"and {len(reasons) - MOST} more"] if len(reasons) > MOST else []
        raise ModelUnavailableError(
            "\n  - ".join([f"{subject} is refused, nothing of it was loaded", *reasons[:MOST], *more]),
            where=f"at {place}",
            todo=_INSTEAD,
        )


def _local(uri: str) -> Path | None:
    """The folder that the URI names; None when it is not on this machine."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def _fetch(place: str, folder: Path, subject: str) -> Path:
    try:
        return Path(mlflow.artifacts.download_artifacts(place, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise ModelUnavailableError(
            f"the files of {subject} are gone",
            where=f"from {place}: {str(error).splitlines()[0][:100]}",
            todo=_INSTEAD,
        ) from error


def seal_evidence(run_id: str, names: Sequence[str]) -> dict[str, str]:
    """The manifest of files that are attached to a run, as MLflow has them now: name -> SHA-256.

    Raises:
        ModelUnavailableError: the run has not got one of them.
    """
    with tempfile.TemporaryDirectory(prefix="dovetail-evidence-") as folder:
        paths = {name: _attached(run_id, name, Path(folder)) for name in names}
        missing = [name for name, path in paths.items() if path is None]
        if missing:
            raise ModelUnavailableError(
                f"run {run_id} is not complete: it has no {', '.join(missing)}",
                where="among its artifacts in MLflow.",
                todo="Make it again:  python -m dovetail mend",
            )
        return {name: sha256(path) for name, path in paths.items() if path}


def fetch_evidence(version: ModelVersion, name: str, folder: Path) -> Path | None:
    """A file of the version's run that was sealed with the version, brought into `folder`; None when there is none.

    Raises:
        ModelUnavailableError: the run has another file than the one that was sealed.
    """
    manifests = (model_folders.from_tag(version.tags.get(tag)) for tag in (EVIDENCE, GATE_RECORD))
    sealed = next((manifest[name] for manifest in manifests if name in manifest), None)
    path = _attached(version.run_id, name, folder) if sealed else None
    if path and sha256(path) != sealed:
        raise ModelUnavailableError(
            f"{name} of {version} is not what was registered",
            where=f"among the artifacts of run {version.run_id}.",
            expected=f"its SHA-256 is {sha256(path)[:12]}…, registered was {str(sealed)[:12]}…",
            todo="Restore the artifact store, or make the run again:  python -m dovetail mend",
        )
    return path


def _attached(run_id: str, name: str, folder: Path) -> Path | None:
    try:
        return Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{name}", dst_path=str(folder)))
    except (MlflowException, OSError):
        return None


def meaning_of(version: ModelVersion) -> dict[str, Any]:
    """What the version's inputs mean, as its run has it; empty when the run has lost it."""
    with tempfile.TemporaryDirectory(prefix="dovetail-meaning-") as folder:
        path = fetch_evidence(version, MEANING_FILE, Path(folder))
        return dict(read_json(path)) if path else {}


def _aliases(client: MlflowClient, name: str) -> tuple[int, dict[str, int]]:
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        return 0, {}
    n_versions = len(client.search_model_versions(f"name='{name}'"))
    return n_versions, {alias: int(version) for alias, version in model.aliases.items()}


def _record(version: _MLflowVersion) -> ModelVersion:
    return ModelVersion(
        version.name, int(version.version), str(version.run_id), str(version.source), dict(version.tags or {})
    )
