"""Before a change lands: which models in use would get other features."""

from collections.abc import Iterator
from dataclasses import dataclass

from dovetail import production
from dovetail.errors import FeatureError, FeatureImpactError
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.text import table
from dovetail.tools import experiments, model_registry
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.meaning import Meaning, differences, meaning, service_meaning
from dovetail.tools.model_registry import ModelVersion


@dataclass(frozen=True)
class Change:
    """One difference for one model in use; `part` is a view, or another part of what its inputs mean."""

    model: ModelVersion
    aliases: str
    part: str
    said: str


def impact(settings: Pipeline, workspace: Workspace) -> None:
    """Print what feature_repo/ would change for each champion and challenger, of all registered models.

    Raises:
        FeatureImpactError: it would change something (exit code 2).
    """
    client = experiments.connect(workspace.profile.mlflow)
    production.look(client, workspace, settings.usecase.name)
    in_use = list(model_registry.in_use(client))
    if not in_use:
        print("No registered model is champion or challenger: nothing can be hit.")
        return
    changes = [change for version, aliases in in_use for change in _changes(settings, workspace, version, aliases)]
    hit = {str(change.model) for change in changes}
    for version, aliases in in_use:
        if str(version) not in hit:
            print(f"{version} ({aliases}): its features stay as they are")
    if changes:
        rows = [(str(change.model), change.aliases, change.part, change.said) for change in changes]
        print(table([("model", "alias", "view", "change"), *rows], right=False))
        raise FeatureImpactError(
            f"{len(hit)} of {len(in_use)} models in use would get other features",
            where=f"by {workspace.root / 'feature_repo'}; the table above says which, and how.",
            expected="the features that they were trained on",
            todo="Go back, or train and promote models with the new ones as the change lands:  make run",
        )


def _changes(settings: Pipeline, workspace: Workspace, version: ModelVersion, aliases: str) -> Iterator[Change]:
    trained_on = model_registry.meaning_of(version)
    if not trained_on:
        yield Change(version, aliases, "-", "nobody knows: its run has lost what its features meant")
        return
    try:
        now = _meaning_now(settings, workspace, version.name)
    except FeatureError as error:
        yield Change(version, aliases, "-", f"{error.what.splitlines()[0]}: {error.where}")
        return
    before = {part: trained_on[part] for part in now}
    for part, all_said in differences(before, now).items():
        yield from (Change(version, aliases, part, said) for said in all_said)


def _meaning_now(settings: Pipeline, workspace: Workspace, usecase: str) -> Meaning:
    """What a model's inputs mean now; of another use case than the chosen one its feature service."""
    definitions = load_definitions(workspace.root / "feature_repo", usecase)
    is_chosen = usecase == settings.usecase.name
    return meaning(definitions, settings.usecase) if is_chosen else service_meaning(definitions)
