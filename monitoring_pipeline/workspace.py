"""An open workspace: settings, the catalog of datasets on disk, and the store.

A workspace is a folder (`MONITORING_HOME`) with `datasets/<dataset-id>/dataset.yaml` and `monitors.json`. Loading
the catalog reads only those files; the store is opened when it is first needed. A dataset whose files are broken
does not take the others down: it is listed under `Catalog.broken` with its error.
"""

from __future__ import annotations

import difflib
import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from monitoring_pipeline.config.dataset import DatasetSpec, load_dataset
from monitoring_pipeline.config.document import MonitorDocument, load_document
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.config.plug_ins import use_folder
from monitoring_pipeline.errors import DocumentError, Problem, UnknownDatasetError
from monitoring_pipeline.settings import DEFAULT_ORGANISATION, Settings
from monitoring_pipeline.timegrid import utc

if TYPE_CHECKING:
    from monitoring_pipeline.metrics import Metric
    from monitoring_pipeline.sources.files import FilesSource
    from monitoring_pipeline.store.database import Store
    from monitoring_pipeline.store.datasets import DatasetRef
    from monitoring_pipeline.store.documents import DocumentVersion

DATASET_FILE = "dataset.yaml"
DOCUMENT_FILE = "monitors.json"


@dataclass(frozen=True)
class MonitoredDataset:
    """One dataset of the workspace: its description, its monitor document and what the document warns of."""

    spec: DatasetSpec
    document: MonitorDocument
    warnings: tuple[Problem, ...]
    folder: Path
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """The dataset's own, by folded name."""

    @property
    def id(self) -> str:
        return self.spec.id


@dataclass(frozen=True)
class Catalog:
    """The datasets found on disk, by id, and the folders that could not be loaded, by name."""

    datasets: Mapping[str, MonitoredDataset] = field(default_factory=dict)
    broken: Mapping[str, DocumentError] = field(default_factory=dict)

    def dataset(self, dataset_id: str) -> MonitoredDataset:
        """The dataset of that id. Raises UnknownDatasetError with the nearest name, DocumentError when it is broken."""
        if dataset_id in self.broken:
            raise self.broken[dataset_id]
        if dataset_id not in self.datasets:
            near = difflib.get_close_matches(dataset_id, self.datasets, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"known: {', '.join(sorted(self.datasets)) or 'none'}"
            )
            raise UnknownDatasetError(f"no dataset {dataset_id!r} in the workspace; {hint}")
        return self.datasets[dataset_id]


def load_catalog(home: Path) -> Catalog:
    """Read every dataset folder of a workspace. Never raises for a broken dataset."""
    datasets: dict[str, MonitoredDataset] = {}
    broken: dict[str, DocumentError] = {}
    for folder in sorted(path.parent for path in (home / "datasets").glob(f"*/{DATASET_FILE}")):
        try:
            dataset = load_monitored_dataset(folder)
            if dataset.id in datasets:
                raise _problem(
                    folder / DATASET_FILE, "$.id", repr(dataset.id), "an id that no other folder uses"
                )
        except DocumentError as error:
            broken[folder.name] = error
        else:
            datasets[dataset.id] = dataset
    return Catalog(datasets, broken)


def load_monitored_dataset(folder: Path) -> MonitoredDataset:
    """Read one dataset folder. Raises DocumentError; without a `monitors.json` the dataset is profiled, not analysed."""
    spec = load_dataset(folder / DATASET_FILE)
    metrics = own_metrics(spec, source=str(folder / DATASET_FILE))
    path = folder / DOCUMENT_FILE
    if not path.exists():
        return MonitoredDataset(spec, _empty_document(spec), (), folder, metrics)
    loaded = load_document(path)
    document = loaded.document
    if document.dataset_id != spec.id:
        raise _problem(
            path, "$.datasetId", repr(document.dataset_id), f"{spec.id!r}, the id in {DATASET_FILE}"
        )
    if document.granularity != spec.granularity:
        raise _problem(
            path, "$.granularity", document.granularity, f"{spec.granularity}, as in {DATASET_FILE}"
        )
    return MonitoredDataset(spec, document, loaded.warnings, folder, metrics)


def own_metrics(spec: DatasetSpec, *, source: str) -> Mapping[str, Metric]:
    """The metrics that a dataset description defines, by folded name. Raises DocumentError with all problems."""
    if not spec.metrics:
        return {}
    from monitoring_pipeline.metrics import custom_metrics, metric

    problems: dict[str, str] = {}
    found = custom_metrics(spec.metrics, metric, problems=problems)
    if problems:
        accepted = "an expression over other metrics, such as count_null / count"
        raise DocumentError(
            source,
            [
                Problem(f"$.metrics.{name}", f"{spec.metrics[name]!r} ({message})", accepted)
                for name, message in problems.items()
            ],
        )
    return found


def _empty_document(spec: DatasetSpec) -> MonitorDocument:
    return MonitorDocument(
        org_id=spec.organisation or DEFAULT_ORGANISATION,
        dataset_id=spec.id,
        granularity=spec.granularity,
        analyzers=(),
        monitors=(),
    )


def _problem(path: Path, where: str, found: str, accepted: str) -> DocumentError:
    return DocumentError(str(path), [Problem(where, found, accepted)])


class Workspace:
    """Settings, catalog and store together. A context manager: closing it closes the store."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._refs: dict[str, DatasetRef] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store if it was opened."""
        if "store" in self.__dict__:
            self.store.close()

    @property
    def home(self) -> Path:
        """The workspace folder."""
        return self.settings.home

    @cached_property
    def catalog(self) -> Catalog:
        """The datasets on disk."""
        use_folder(self.home if self.settings.workspace_analyzers else None)
        return load_catalog(self.home)

    @cached_property
    def store(self) -> Store:
        """The time-series store, opened (and created when it is new)."""
        from monitoring_pipeline.store.database import open_store

        return open_store(self.settings.resolved_store_url)

    def now(self) -> datetime:
        """The present, or the moment that the settings pretend it is."""
        return utc(self.settings.now) if self.settings.now else datetime.now(UTC)

    @property
    def as_of(self) -> datetime | None:
        """In a replay the moment after which nothing has arrived yet; otherwise None."""
        return utc(self.settings.now) if self.settings.now else None

    def dataset(self, dataset_id: str) -> MonitoredDataset:
        """The dataset of that id, or an error that names the nearest one."""
        return self.catalog.dataset(dataset_id)

    def source(self, dataset_id: str) -> FilesSource:
        """Where the dataset's batches come from."""
        from monitoring_pipeline.sources.files import FilesSource

        return FilesSource(self.dataset(dataset_id).spec, self.home)

    def ref(self, dataset_id: str) -> DatasetRef:
        """The dataset's row in the store, made when it is new."""
        from monitoring_pipeline.store.datasets import register_dataset

        if dataset_id not in self._refs:
            spec = self.dataset(dataset_id).spec
            organisation = spec.organisation or self.settings.organisation
            self._refs[dataset_id] = register_dataset(self.store, organisation, spec.id)
        return self._refs[dataset_id]

    def entity_schema(self, dataset_id: str) -> EntitySchema | None:
        """The schema that the document states, or the one inferred when batches were profiled."""
        from monitoring_pipeline.store.entity_schema import schema

        stated = self.dataset(dataset_id).document.entity_schema
        inferred = schema(self.store, self.ref(dataset_id))
        if inferred is None:
            return stated
        merged = EntitySchema.model_validate(inferred)
        return merged if stated is None else merged.overridden_by(stated)

    def apply(self, dataset_id: str, *, author: str | None = None) -> Mapping[str, DocumentVersion]:
        """Write the dataset's files to the store as versioned documents; unchanged files make no new version."""
        from monitoring_pipeline.store.documents import apply_document

        dataset, ref, now = self.dataset(dataset_id), self.ref(dataset_id), self.now()
        contents = {
            "dataset": dataset.spec.model_dump(mode="json", exclude_unset=True),
            "monitors": dataset.document.to_json(),
        }
        who = author or getpass.getuser()
        return {
            kind: apply_document(self.store, ref, kind, content, author=who, origin="file", now=now)
            for kind, content in contents.items()
        }
