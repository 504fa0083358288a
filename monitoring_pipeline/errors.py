"""Every error that the pipeline raises on purpose.

    MonitoringError
    ├── DocumentError        a monitor document or dataset description that cannot be used (all problems at once)
    ├── UsageError           a command or call that asks for something that does not exist
    │   ├── UnknownDatasetError
    │   └── UnknownMetricError
    ├── SourceError          data that cannot be read
    ├── ProfileError         bytes that are not a profile, profiles that cannot be merged
    ├── StoreError           the database cannot do what was asked
    │   ├── StoreVersionError    it has another schema version than this release
    │   └── ConflictError        two writers changed the same document
    ├── AnalysisError        an analyzer that cannot give a verdict
    ├── DeliveryError        a channel that did not accept a message
    └── MissingExtraError    an optional dependency is not installed

A message names the place, what was found, what is accepted and what to do. `exit_code` is what the command line
returns: 2 where the user's input was wrong, 3 where the pipeline itself failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MonitoringError(Exception):
    """Base of every error of this package."""

    exit_code = 3


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a document: where (a JSON path such as `$.analyzers[0].config.factor`), what, what instead."""

    path: str
    found: str
    accepted: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; accepted: {self.accepted}"


class DocumentError(MonitoringError):
    """A document with at least one problem. Carries all of them."""

    exit_code = 2

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in self.problems)]))


class UsageError(MonitoringError):
    """The caller asked for something that does not exist or makes no sense."""

    exit_code = 2


class UnknownDatasetError(UsageError):
    """No dataset of that id in the workspace."""


class UnknownMetricError(UsageError):
    """No metric of that name in the catalog."""


class SourceError(MonitoringError):
    """Data that cannot be read."""


class ProfileError(MonitoringError):
    """Bytes that are not a profile, or profiles that cannot be merged."""


class StoreError(MonitoringError):
    """The database cannot do what was asked."""


class StoreVersionError(StoreError):
    """The database has another schema version than this release."""

    exit_code = 2


class ConflictError(StoreError):
    """Two writers changed the same document. Shows both."""

    exit_code = 2


class AnalysisError(MonitoringError):
    """An analyzer that cannot give a verdict."""


class DeliveryError(MonitoringError):
    """A channel did not accept a message. Never carries a secret.

    `permanent` says that trying again cannot help; `retry_after` is what the channel asked for, in seconds.
    """

    def __init__(self, message: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class MissingExtraError(MonitoringError):
    """An optional dependency is not installed. Says the line that installs it."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'monitoring-pipeline[{extra}]'")
        self.extra = extra
