"""Every error a user can meet.

DovetailError
├── SettingsError          conf/, params.yaml or the command line is wrong
├── WorkspaceError         no git repository, no DVC, an output of another stage is missing
├── SourceError            a source cannot be read
├── ContractError          a source breaks its contract
├── FeatureError           a feature table, view or label row is not what it says
├── SplitError             the split's certificate does not hold
├── DataVersionError       recorded data is gone, or is not what was recorded
├── TrackingError          MLflow has not got what a receipt says it has
├── ModelUnavailableError  a model cannot be loaded safely
│   └── NoChampionError    no version has the alias
├── LineageError           where a model came from is not as recorded, or cannot be checked (exit code 2)
├── FeatureImpactError     models in use would get other features (exit code 2)
├── GateRefused            the challenger is not promoted (exit code 2)
├── ApprovalRequired       a person has to say yes first (exit code 2)
└── DiskFullError          no space left; nothing was half written
"""


class DovetailError(Exception):
    """What failed, where, what was expected, and what to type next.

    Args:
        what: What failed, with the values.
        where: The file, settings key or URI (without secrets).
        expected: What was expected or is available; may be left out when `what` says it.
        todo: The next command to type, or the setting to change.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str, todo: str, expected: str = "") -> None:
        self.what, self.where, self.expected, self.todo = what, where, expected, todo
        super().__init__("\n".join([what, *(f"  {part}" for part in (where, expected, todo) if part)]))


class SettingsError(DovetailError):
    """conf/, params.yaml or the command line is wrong."""


class WorkspaceError(DovetailError):
    """No git repository, no DVC, or an output of another stage is missing."""


class SourceError(DovetailError):
    """A source cannot be read."""


class ContractError(DovetailError):
    """One or more sources break their contract."""


class FeatureError(DovetailError):
    """A feature table, feature view or label row is not what it says it is."""


class SplitError(DovetailError):
    """The split's certificate does not hold."""


class DataVersionError(DovetailError):
    """Recorded data is neither in the cache nor in the remote, or is not what was recorded."""


class TrackingError(DovetailError):
    """MLflow has not got what a receipt says it has."""


class ModelUnavailableError(DovetailError):
    """A model cannot be found, or not be loaded safely."""


class NoChampionError(ModelUnavailableError):
    """No version of the registered model has the alias."""


class LineageError(DovetailError):
    """What a model came from is not what was recorded, or cannot be checked: an answer, not a fault."""

    exit_code = 2


class FeatureImpactError(DovetailError):
    """Models in use would get other features than those they were trained on."""

    exit_code = 2


class GateRefused(DovetailError):
    """The challenger is not promoted: the gate's answer, not a fault."""

    exit_code = 2


class ApprovalRequired(DovetailError):
    """A person has to say yes before the challenger is promoted: nobody has yet, or the last word was no."""

    exit_code = 2


class DiskFullError(DovetailError):
    """No space left on the device; what was there before is untouched."""
