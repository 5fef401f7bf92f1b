"""A run's life in MLflow: opened in one place, and ended in every case, also by whoever finds it left behind."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from dovetail import leases
from dovetail.leases import Lease, Terminated
from dovetail.lineage import ABANDONED, COMPLETE, LEASE
from dovetail.settings.schema import MLflow

log = logging.getLogger(__name__)
NOTE = "mlflow.note.content"
_OPEN = "attributes.status = 'RUNNING'"
# A view of the run table that MLflow's UI offers under "Views", and opens by this key in the address. It is how the UI
# saves one (3.17, experiment-page: `sharedViewState`); one that does not know it shows its own columns.
_VIEW = "results"
_COLUMNS = (
    "attributes.`Models`",
    "metrics.`holdout/roc_auc`",
    "metrics.`holdout/brier`",
    "metrics.`validation/roc_auc`",
    "params.`model`",
    "tags.`dvc.data_version`",
    "tags.`git.commit`",
)


@contextmanager
def recording(
    client: MlflowClient, settings: MLflow, *, experiment: str, run_name: str, description: str, tags: Mapping[str, str]
) -> Iterator[str]:
    """A new run in the experiment, which is made if need be; yields the run's id.

    The run is FINISHED and tagged as complete when the block ends well, KILLED after SIGTERM, SIGHUP and Ctrl-C, and
    FAILED when the block raises. While it is open it holds a lease; runs whose lease has ended are closed first.
    """
    experiment_id = _experiment(client, settings, experiment)
    close_abandoned(client, settings)
    lease = Lease.new()
    with leases.holding(lease, _lease_folder(settings)), leases.ending_on_signals():
        run_id = mlflow.start_run(
            experiment_id=experiment_id,
            run_name=run_name,
            description=description,
            # MLflow would name the source by the path of __main__.py.
            tags={"mlflow.source.name": "dovetail train", **tags, LEASE: str(lease)},
        ).info.run_id
        status = "FAILED"
        try:
            with leases.renewing(lease, lambda renewed: _renew(client, run_id, renewed)):
                yield run_id
            mlflow.set_tag(COMPLETE, "true")
            status = "FINISHED"
        except (KeyboardInterrupt, Terminated):
            status = "KILLED"
            raise
        finally:
            mlflow.end_run(status)
            # Whoever closed this run took a holder that was silent (a machine asleep) for dead.
            for key in {LEASE, ABANDONED} & set(client.get_run(run_id).data.tags):
                client.delete_tag(run_id, key)


def close_abandoned(client: MlflowClient, settings: MLflow) -> None:
    """End the runs whose process was killed without a word: KILLED, with a tag that says so.

    A run of a living process, here or elsewhere, is left alone, and so is one that holds no lease: it is not ours.
    """
    folder = _lease_folder(settings)
    for run in list(_running(client)):
        lease = Lease.parse(run.data.tags.get(LEASE, ""))
        now = datetime.now(UTC)
        # Read again: a holder gives its lock back after it has ended its run.
        if not lease or lease.is_alive(folder, now) or client.get_run(run.info.run_id).info.status != "RUNNING":
            continue
        ended = min(now, lease.until)
        said = f"process {lease.pid} on {lease.host} did not end it; closed at {now.isoformat(timespec='seconds')}"
        client.set_tag(run.info.run_id, ABANDONED, said)
        client.set_terminated(run.info.run_id, "KILLED", int(ended.timestamp() * 1000))
        leases.forget(lease, folder)
        log.warning("run %s was left behind, and is closed as killed: %s", run.info.run_id, said)


def _running(client: MlflowClient) -> Iterator[Run]:
    experiment_ids = [experiment.experiment_id for experiment in client.search_experiments()]
    page = client.search_runs(experiment_ids, _OPEN)
    while page:
        yield from page
        page = page.token and client.search_runs(experiment_ids, _OPEN, page_token=page.token)


def _renew(client: MlflowClient, run_id: str, lease: Lease) -> None:
    try:
        client.set_tag(run_id, LEASE, str(lease))
    except MlflowException as error:
        log.warning("the lease of run %s is not renewed, the next minute may: %s", run_id, str(error).splitlines()[0])


def _lease_folder(settings: MLflow) -> Path | None:
    """Where the locks of open runs lie: beside the database; None when it is a server, which machines share."""
    database = settings.database
    return database.with_name(f"{database.name}.leases") if database else None


def _experiment(client: MlflowClient, settings: MLflow, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    # The place is fixed for good when the experiment is made, so it must not depend on the working directory.
    location = Path(settings.artifact_location).as_uri() if settings.artifact_location else None
    try:
        made = str(client.create_experiment(name, artifact_location=location, tags=_shown(name)))
    except MlflowException:
        made_by_another = client.get_experiment_by_name(name)
        if made_by_another is None:
            raise
        return str(made_by_another.experiment_id)
    client.set_experiment_tag(made, NOTE, _note(name, made))
    return made


def _shown(name: str) -> dict[str, str]:
    """What MLflow's UI needs to know of the experiment; its note comes when its number is known."""
    view = {"name": "Results", "createdAt": 0, "updatedAt": 0, "state": json.dumps({"selectedColumns": _COLUMNS})}
    return {f"mlflow.sharedViewState.{_VIEW}": json.dumps(view), NOTE: f"Runs of the use case '{name}'."}


def _note(name: str, experiment_id: str) -> str:
    """For people, in Markdown; links start with #, so that they hold at any address of the UI."""
    runs = f"#/experiments/{experiment_id}/runs?viewStateShareKey={_VIEW}&workflowType=machine_learning"
    return (
        # The UI shows one line until it is asked for more.
        f"Runs of the use case '{name}': [their results in a table]({runs}), "
        f"[model versions and what is in production](#/models/{name}).\n\n"
        "There is one for each training, by `dvc repro`, by `dvc exp run` or by hand."
    )
