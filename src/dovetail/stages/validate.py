"""The stage `validate`: each source against its contract; rows that break a rule go to quarantine."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dovetail.contracts.checks import Verdict, check
from dovetail.errors import ContractError
from dovetail.files import read_parquet, write_json, write_parquet
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace

log = logging.getLogger(__name__)

MAX_FINDINGS = 10


def validate(settings: Pipeline, workspace: Workspace) -> None:
    """Write the good rows to data/valid, the others to data/quarantine, and reports/contract.json.

    The report is written in any case, the tables only when no contract is broken, and all of them or none.

    Raises:
        ContractError: sources break their contract; all the problems of all the sources are counted.
        DiskFullError: no space is left.
    """
    sources = settings.usecase.sources
    log.info("validate: checking %d sources", len(sources))
    verdicts = {
        name: check(name, read_parquet(workspace.read(f"data/raw/{name}.parquet")), source)
        for name, source in sources.items()
    }
    write_json({name: summary(verdict) for name, verdict in verdicts.items()}, workspace.write("reports/contract.json"))
    if any(verdict.problems for verdict in verdicts.values()):
        raise broken_contracts(verdicts)
    write_tables(verdicts, workspace)
    for name, verdict in verdicts.items():
        tell(name, verdict)


def write_tables(verdicts: dict[str, Verdict], workspace: Workspace) -> None:
    """Write data/valid/SOURCE.parquet, and data/quarantine/SOURCE.parquet where there are such rows.

    Raises:
        DiskFullError: no space is left; nothing has moved in.
    """
    data = workspace.write("data/valid/any.parquet").parents[1]
    workspace.write("data/quarantine/any.parquet")
    with TemporaryDirectory(dir=data, prefix=".validate.") as side:
        for name, verdict in verdicts.items():
            write_parquet(verdict.valid, Path(side, "valid", f"{name}.parquet"))
            if verdict.quarantined.num_rows:
                write_parquet(verdict.quarantined, Path(side, "quarantine", f"{name}.parquet"))
        for path in sorted(Path(side).glob("*/*.parquet")):
            path.replace(workspace.write(f"data/{path.parent.name}/{path.name}"))


def summary(verdict: Verdict) -> dict[str, Any]:
    """What the report says of a source; the rows of a source with problems are only judged as far as they could be."""
    return {
        "rows": verdict.valid.num_rows + verdict.quarantined.num_rows,
        "valid": verdict.valid.num_rows,
        "quarantined": verdict.quarantined.num_rows,
        "quarantined_by_rule": verdict.broken,
        "missing_share": verdict.missing,
        "warnings": list(verdict.warnings),
        "problems": list(verdict.problems),
    }


def broken_contracts(verdicts: dict[str, Verdict]) -> ContractError:
    """The error that names every source with problems, and the first ten of them."""
    findings = [(name, problem) for name, verdict in verdicts.items() for problem in verdict.problems]
    names = list(dict.fromkeys(name for name, _ in findings))
    lines = [f"- {name}: {problem}".replace("\n", "\n  ") for name, problem in findings[:MAX_FINDINGS]]
    if len(findings) > MAX_FINDINGS:
        lines.append(f"- and {len(findings) - MAX_FINDINGS} more")
    return ContractError(
        f"{len(names)} of {len(verdicts)} sources break their contract: {', '.join(names)}",
        where="\n  ".join(lines),
        expected="Nothing was written. Full report: reports/contract.json",
        todo="Mend the source and read it again:  dvc repro --force --single-item ingest && dvc repro\n"
        "  or change its contract under usecase.sources in conf/, then:  dvc repro",
    )


def tell(name: str, verdict: Verdict) -> None:
    """Log a source's rows, and its warnings as such."""
    for warning in verdict.warnings:
        log.warning("validate: %s: %s", name, warning)
    for rule, n_rows in verdict.broken.items():
        log.warning("validate: %s: %s: rows put in data/quarantine: %d", name, rule, n_rows)
    log.info("validate: wrote data/valid/%s.parquet (%d rows)", name, verdict.valid.num_rows)
