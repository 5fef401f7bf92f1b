"""Model versions and their aliases in MLflow's registry. Every function takes the client of `experiments.connect`."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as _MLflowVersion
from mlflow.exceptions import MlflowException

from dovetail.errors import ModelUnavailableError, NoChampionError
from dovetail.files import read_json, sha256
from dovetail.lineage import MEANING_FILE, MODEL_SHA256, RUN_ID

CHAMPION = "champion"
CHALLENGER = "challenger"


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


def register(
    client: MlflowClient, name: str, *, run_id: str, model_id: str, model_uri: str, tags: Mapping[str, str]
) -> ModelVersion:
    """The version made of a run's model, with the alias challenger; the same run gives the same version again."""
    try:
        client.create_registered_model(name, description=f"Models of the use case '{name}'; production is @{CHAMPION}.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    existing = [v for v in client.search_model_versions(f"name='{name}'") if v.tags.get(RUN_ID) == run_id]
    made = existing or [
        client.create_model_version(
            name, source=model_uri, run_id=run_id, model_id=model_id, tags={**tags, RUN_ID: run_id}
        )
    ]
    set_alias(client, name, CHALLENGER, int(made[0].version))
    return _record(made[0])


def with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    """The version that the alias points to.

    Raises:
        NoChampionError: no version has the alias; the message lists the aliases there are.
    """
    found = find_alias(client, name, alias)
    if found is None:
        n_versions, aliases = _aliases(client, name)
        listed = ", ".join(f"{known} -> {version}" for known, version in sorted(aliases.items())) or "none"
        raise NoChampionError(
            f"no version of model '{name}' has the alias '{alias}'",
            where=f"in the model registry ({n_versions} versions; aliases: {listed}).",
            todo="Promote one first:  python -m dovetail promote" if n_versions else "Make one first:  make run",
        )
    return found


def find_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that the alias points to; None when there is none."""
    _, aliases = _aliases(client, name)
    return _record(client.get_model_version(name, str(aliases[alias]))) if alias in aliases else None


def find_version(client: MlflowClient, name: str, version: int) -> ModelVersion | None:
    """The version; None when it does not exist."""
    try:
        return _record(client.get_model_version(name, str(version)))
    except MlflowException:
        return None


def in_use(client: MlflowClient) -> Iterator[tuple[ModelVersion, str]]:
    """Each version that is champion or challenger, of every registered model by name, with its aliases."""
    for model in sorted(client.search_registered_models(), key=lambda model: str(model.name)):
        _, aliases = _aliases(client, model.name)
        held = {alias: aliases[alias] for alias in (CHAMPION, CHALLENGER) if alias in aliases}
        for number in dict.fromkeys(held.values()):
            version = _record(client.get_model_version(model.name, str(number)))
            yield version, ", ".join(alias for alias, holds in held.items() if holds == number)


def set_alias(client: MlflowClient, name: str, alias: str, version: int) -> None:
    """Point the alias at the version, wherever it pointed before."""
    client.set_registered_model_alias(name, alias, str(version))


def annotate(client: MlflowClient, version: ModelVersion, *, description: str, tags: Mapping[str, str]) -> None:
    """Write what people read (the description) and what they search by (the tags) on the version."""
    client.update_model_version(version.name, str(version.version), description=description)
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)


@contextmanager
def model_file(version: ModelVersion) -> Iterator[Path]:
    """The version's model.skops in a private folder, which goes when the block ends; its digest is checked first.

    Raises:
        ModelUnavailableError: the file is gone, or is not the one that was registered.
    """
    with tempfile.TemporaryDirectory(prefix="dovetail-model-") as folder:
        path = fetch(version.source, Path(folder))
        expected, found = version.tags.get(MODEL_SHA256), sha256(path)
        if found != expected:
            raise ModelUnavailableError(
                f"the file of {version} is not the one that was registered",
                where=f"at {version.source}: its SHA-256 is {found[:16]}…, registered was {(expected or 'none')[:16]}…",
                todo="Do not load it. Point the alias at another version in the MLflow UI:  make ui",
            )
        yield path


def fetch_evidence(version: ModelVersion, name: str, folder: Path) -> Path | None:
    """A file that was attached to the version's run, brought into `folder`; None when the run has not got it."""
    try:
        return Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/{name}", dst_path=str(folder)))
    except (MlflowException, OSError):
        return None


def meaning_of(version: ModelVersion) -> dict[str, Any]:
    """What the version's inputs mean, as its run has it; empty when the run has lost it."""
    with tempfile.TemporaryDirectory(prefix="dovetail-meaning-") as folder:
        path = fetch_evidence(version, MEANING_FILE, Path(folder))
        return dict(read_json(path)) if path else {}


def fetch(model_uri: str, folder: Path) -> Path:
    """The model's model.skops, read back from MLflow into `folder`.

    Raises:
        ModelUnavailableError: MLflow has not got the file.
    """
    try:
        path = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(folder))) / "model.skops"
        if path.is_file():
            return path
        reason = "its folder is there without it"
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0][:100]
    raise ModelUnavailableError(
        "the file model.skops is gone",
        where=f"from {model_uri}: {reason}",
        todo="Restore the artifact store, or make the model again:  python -m dovetail mend",
    )


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
