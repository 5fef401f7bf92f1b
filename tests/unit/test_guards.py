"""The joints between files that no linter sees: dvc.yaml and the code, README and Makefile, lock and pyproject.toml."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from dovetail import errors
from dovetail.__main__ import STEPS

ROOT = Path(__file__).resolve().parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "src").rglob("*.py")
)
# What every stage stands on. It carries values and errors but decides no result, so a change in it reruns nothing.
PLUMBING = (
    "dovetail.errors",
    "dovetail.files",
    "dovetail.leases",
    "dovetail.lineage",
    "dovetail.locks",
    "dovetail.settings",
)


# What everybody installs, and what `make servers` adds to it: each with the least number of packages.
LOCKS = {"requirements.lock": 150, "requirements.servers.lock": 6}
# The packages that only `make servers` brings.
OPTIONAL = {"psycopg", "psycopg_pool", "pyspark", "redis"}


def path_of(module: str) -> Path:
    base = ROOT / "src" / Path(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def imports_of(module: str) -> set[str]:
    """The modules of dovetail that a module imports when it runs, not those that only its types name."""
    tree = ast.parse(path_of(module).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dovetail"):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in members if name in MODULES} or {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("dovetail.")}
    return found


def closure_of(module: str) -> set[str]:
    """The module, and all it needs, but for the plumbing."""
    seen, todo = set(), {module}
    while todo:
        name = todo.pop()
        if name not in seen and not name.startswith(PLUMBING):
            seen.add(name)
            todo |= imports_of(name)
    return seen


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "config"])
def test_a_stage_depends_on_exactly_the_code_it_runs(stage: str) -> None:
    """A stage's `deps` in dvc.yaml name every module that it imports, and no other."""
    needed = {str(path_of(module).relative_to(ROOT)) for module in closure_of(f"dovetail.stages.{stage}")}
    declared = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    folders = {dep for dep in declared if (ROOT / dep).is_dir()}
    covered = {path for path in needed if any(path.startswith(folder + "/") for folder in folders)}
    assert needed - covered == declared - folders
    assert all(any(path.startswith(folder + "/") for path in needed) for folder in folders)


def test_a_step_has_one_name_everywhere() -> None:
    """The stages of dvc.yaml are those of the command line, in the same order; every step has its module."""
    assert list(STAGES) == list(STEPS["stages"])
    for group in ("stages", "operations"):
        for name in STEPS[group]:
            assert name == "config" or f"dovetail.{group}.{name}" in MODULES


def test_every_make_target_has_help() -> None:
    """`make help` lists every target that a person may type."""
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    assert phony == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.M))


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))])
def test_every_command_in_the_documentation_exists(page: str) -> None:
    """Pages name only make targets and steps that there are."""
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    steps = {name for group in STEPS.values() for name in group} | {"STEP"}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M)) <= targets
    assert set(re.findall(r"python -m dovetail ([A-Za-z]+)", text)) <= steps


def test_the_lock_satisfies_pyproject() -> None:
    """Every dependency, those of development and of servers too, is locked at a version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = {lock: dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / lock).read_text(), re.M)) for lock in LOCKS}
    everyone, servers = locked.values()
    asked = [*project["dependencies"], *extras["dev"]]
    for line in [*asked, *extras["postgres"], *extras["redis"], *extras["spark"], *extras["servers"][1:]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains((everyone if line in asked else servers)[wanted.name]), line
    assert not set(everyone) & set(servers)


@pytest.mark.parametrize(("lock", "at_least"), LOCKS.items())
def test_a_lock_has_hashes_and_no_addresses(lock: str, at_least: int) -> None:
    """What is installed is named by its hash, wherever it comes from."""
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--index|--find-links", text)
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.M)[1:]
    assert len(entries) > at_least
    assert all("--hash=sha256:" in entry for entry in entries)


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Importing every module of the package leaves an empty folder empty, and prints nothing."""
    modules = [name for name in MODULES if not name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        if error.name not in {OPTIONAL}: raise\n"
    )
    # Matplotlib's font cache and the like belong to the home folder, and are not ours.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *modules],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


# What a stage may load beside Hydra, pandas and Arrow. Feast alone takes five seconds, Evidently as long.
TOOLS = {
    "dvc",
    "duckdb",
    "evidently",
    "feast",
    "ibis",
    "matplotlib",
    "mlflow",
    "pandera",
    "pyspark",
    "skops",
    "sklearn",
    "sqlalchemy",
}
USED = {
    "ingest": {"sqlalchemy"},
    "validate": {"pandera"},
    "featurize": {"feast", "ibis"},
    "assemble": {"duckdb", "feast", "ibis"},
    "train": {"matplotlib", "mlflow", "skops", "sklearn"},
    "evaluate": {"matplotlib", "skops", "sklearn"},
    "register": {"mlflow", "skops"},
    "drift": {"evidently"},
}
# What those tools load on their own account.
BROUGHT = {"feast": {"sqlalchemy"}, "mlflow": {"sklearn", "sqlalchemy", "skops"}, "skops": {"sklearn"}}
BROUGHT["evidently"] = {"sklearn"}
# Where Spark is installed, these look at it.
BROUGHT["pandera"] = {"pyspark"}
BROUGHT["mlflow"] |= {"pyspark"}


@pytest.mark.parametrize("stage", USED)
def test_a_stage_imports_only_the_tools_that_it_uses(stage: str) -> None:
    """Nobody waits for a tool that his step does not need."""
    code = f"import sys, dovetail.stages.{stage}, dovetail.settings.entrypoint\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    brought = set().union(*(BROUGHT.get(tool, set()) for tool in USED[stage]))
    assert USED[stage] <= (loaded := TOOLS & set(done.stdout.split()))
    assert loaded <= USED[stage] | brought


def test_the_profile_spark_is_the_local_one_but_for_spark() -> None:
    """Both use the same databases, registry and online store: one may go from one to the other and back."""
    differs = {"profile": {"name", "feature_engine", "feature_store"}, "feature_store": {"offline_store"}}
    files = {"profile": "conf/profile/{}.yaml", "feature_store": "feature_repo/{}.yaml"}
    names = {"profile": ("local", "spark"), "feature_store": ("feature_store", "feature_store.spark")}
    for kind, pattern in files.items():
        local, spark = (yaml.safe_load((ROOT / pattern.format(name)).read_text()) for name in names[kind])
        assert {key for key in local | spark if local.get(key) != spark.get(key)} == differs[kind]


def test_help_imports_no_tool() -> None:
    """`python -m dovetail --help` answers at once, since it imports nothing but itself."""
    code = (
        "import sys\nfrom dovetail.__main__ import main\nmain(['--help'])\n"
        "heavy = {'hydra', 'mlflow', 'feast', 'evidently', 'pandas', 'sklearn', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "promote" in done.stdout


def test_the_drawn_error_tree_is_the_real_one() -> None:
    """The tree in errors.py's docstring names every class, under its parent."""
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    real = [name for name, value in vars(errors).items() if isinstance(value, type) and name != "DovetailError"]
    assert drawn == real


MOVES = ("set_registered_model_alias", "delete_registered_model_alias")


def test_one_module_moves_an_alias() -> None:
    """Whoever else did would leave no line in the journal."""
    users = {name for name in MODULES for move in MOVES if move in path_of(name).read_text()}
    assert users == {"dovetail.tools.journal"}
