"""An open workspace: settings, the catalog of datasets on disk, and the store.

A workspace is a folder (`MONITORING_HOME`) with `datasets/<dataset-id>/dataset.yaml` and `monitors.json`. Loading
the catalog reads only those files; the store is opened when it is first needed. A dataset whose files are broken
does not take the others down: it is listed under `Catalog.broken` with its error.
"""

from __future__ import annotations

import difflib
import getpass
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from monitoring_pipeline.config.dataset import DatasetSpec, load_dataset
from monitoring_pipeline.config.document import (
    LoadedDocument,
    MonitorDocument,
    load_document,
    parse_document,
    read_json,
)
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.config.layout import laid_out, read_text, rewritten, write_text
from monitoring_pipeline.config.plug_ins import use_folder
from monitoring_pipeline.config.problems import json_path
from monitoring_pipeline.config.retention import RetentionSpec, parse_retention, retention_of
from monitoring_pipeline.errors import DocumentError, Problem, UnknownDatasetError
from monitoring_pipeline.settings import DEFAULT_ORGANISATION, Settings
from monitoring_pipeline.timegrid import utc

if TYPE_CHECKING:
    from monitoring_pipeline.metrics import Metric
    from monitoring_pipeline.profiling.profile import DatasetProfile
    from monitoring_pipeline.sources.base import Source
    from monitoring_pipeline.store.database import Store
    from monitoring_pipeline.store.datasets import DatasetRef
    from monitoring_pipeline.store.documents import DocumentVersion, DocumentWriter

DATASET_FILE = "dataset.yaml"
DOCUMENT_FILE = "monitors.json"

Change = Callable[[dict[str, Any], MonitorDocument], Mapping[str, Any]]
"""Makes the new content of a monitor document out of its present content, raw and validated."""


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

    @property
    def contents(self) -> dict[str, Mapping[str, object]]:
        """The documents as the store versions them, by kind."""
        return {
            "dataset": self.spec.model_dump(mode="json", exclude_unset=True),
            "monitors": self.document.to_json(),
        }


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


def load_catalog(home: Path, read: Callable[[Path], MonitoredDataset] | None = None) -> Catalog:
    """Read every dataset folder of a workspace, by `read` if given. Never raises for a broken dataset."""
    datasets: dict[str, MonitoredDataset] = {}
    broken: dict[str, DocumentError] = {}
    for folder in sorted(path.parent for path in (home / "datasets").glob(f"*/{DATASET_FILE}")):
        try:
            dataset = (read or load_monitored_dataset)(folder)
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
    loaded = _of_dataset(load_document(path), spec, path)
    return MonitoredDataset(spec, loaded.document, loaded.warnings, folder, metrics)


def _of_dataset(loaded: LoadedDocument, spec: DatasetSpec, path: Path) -> LoadedDocument:
    """The same document. Raises DocumentError when it is another dataset's, or its own metrics make no sense."""
    document = loaded.document
    if document.dataset_id != spec.id:
        raise _problem(
            path, "$.datasetId", repr(document.dataset_id), f"{spec.id!r}, the id in {DATASET_FILE}"
        )
    if document.granularity != spec.granularity:
        raise _problem(
            path, "$.granularity", document.granularity, f"{spec.granularity}, as in {DATASET_FILE}"
        )
    own = own_metrics(spec, source=str(path.parent / DATASET_FILE))
    refuse_stated_metrics(document, own, source=str(path))
    return loaded


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


def refuse_stated_metrics(document: MonitorDocument, own: Mapping[str, Metric], *, source: str) -> None:
    """Raises DocumentError with all problems of the document's `customMetrics`. `own` are those of `dataset.yaml`."""
    if document.entity_schema is None or not document.entity_schema.custom_metrics:
        return
    from monitoring_pipeline.metrics import stated_metrics

    problems: dict[str, str] = {}
    stated_metrics(document.entity_schema, own, problems=problems)
    if problems:
        accepted = "a metric of a column, a metric of the dataset, or an expression over metrics"
        raise DocumentError(
            source,
            [
                Problem(json_path(("entitySchema", "customMetrics", name)), message, accepted)
                for name, message in problems.items()
            ],
        )


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
        return self.load()

    def load(self, read: Callable[[Path], MonitoredDataset] | None = None) -> Catalog:
        """Read the datasets on disk now, each folder by `read` if given; that is the catalog from then on."""
        use_folder(self.home if self.settings.workspace_analyzers else None)
        self.catalog = load_catalog(self.home, read)
        return self.catalog

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

    def described(self, dataset_id: str) -> tuple[DatasetSpec, Path]:
        """A dataset's description and its folder, also while its monitor document cannot be used.

        Raises UnknownDatasetError, and DocumentError when the description itself is broken.
        """
        if dataset_id in self.catalog.broken:
            folder = self.home / "datasets" / dataset_id
            return load_dataset(folder / DATASET_FILE), folder
        dataset = self.dataset(dataset_id)
        return dataset.spec, dataset.folder

    def source(self, dataset_id: str) -> Source[DatasetProfile]:
        """Where the dataset's batches come from."""
        spec = self.dataset(dataset_id).spec
        if spec.source.profiles:
            from monitoring_pipeline.profiling.whylogs import read_batches
            from monitoring_pipeline.sources.profile_files import ProfileFilesSource

            return ProfileFilesSource(spec, self.home, read=read_batches)
        from monitoring_pipeline.sources.files import FilesSource

        return FilesSource(spec, self.home)

    def ref(self, dataset_id: str) -> DatasetRef:
        """The dataset's row in the store, made when it is new."""
        from monitoring_pipeline.store.datasets import register_dataset

        if dataset_id not in self._refs:
            organisation = self.organisation(dataset_id)
            self._refs[dataset_id] = register_dataset(self.store, organisation, dataset_id)
        return self._refs[dataset_id]

    def organisation(self, dataset_id: str) -> str:
        """The organisation that a dataset belongs to."""
        return self.described(dataset_id)[0].organisation or self.settings.organisation

    def retention(self, dataset_id: str) -> RetentionSpec:
        """How long things of a dataset are kept: as it says, else as the settings say. Raises DocumentError."""
        own = self.dataset(dataset_id).spec
        default = parse_retention(self.settings.retention, source="MONITORING_RETENTION")
        return retention_of(own.retention, default, own.granularity)

    def entity_schema(self, dataset_id: str) -> EntitySchema | None:
        """The schema that the document states, or the one inferred when batches were profiled."""
        from monitoring_pipeline.store.entity_schema import schema

        stated = self.dataset(dataset_id).document.entity_schema
        inferred = schema(self.store, self.ref(dataset_id))
        if inferred is None:
            return stated
        merged = EntitySchema.model_validate(inferred)
        return merged if stated is None else merged.overridden_by(stated)

    @property
    def author(self) -> str:
        """Who changes documents: as the settings say, or the operating system's user."""
        if self.settings.author:
            return self.settings.author
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container whose user has no name
            return "unknown"

    def apply(
        self, dataset_id: str, *, author: str | None = None, force: bool = False
    ) -> Mapping[str, DocumentVersion]:
        """Write the dataset's files, as they are now, to the store as versioned documents, by kind.

        Unchanged files make no new version. Without a `monitors.json` the document that the store has stays. Raises
        DocumentError when the files are broken by now, and ConflictError when the API changed a document too, unless
        `force` says that the files win.
        """
        from monitoring_pipeline.store.documents import document_writer

        folder, ref = self.dataset(dataset_id).folder, self.ref(dataset_id)
        who, now = author or self.author, self.now()
        with document_writer(self.store, ref) as writer:
            # Read again: while this process waited, another may have changed the files and applied them.
            dataset = self._reloaded(load_monitored_dataset(folder))
            contents, held = dataset.contents, writer.latest("monitors")
            if held is not None and not (folder / DOCUMENT_FILE).exists():
                contents["monitors"] = held.content
            return {
                kind: writer.apply(kind, content, author=who, origin="file", now=now, force=force)
                for kind, content in contents.items()
            }

    def edit(self, dataset_id: str, change: Change, *, author: str | None = None) -> DocumentVersion:
        """Change the dataset's monitor document: rewrite its file, keeping layout and unknown keys, and apply it.

        What the file says that was never applied becomes a version of its own first. Nobody else changes the document
        meanwhile. Raises DocumentError when the document is broken, before or after the change, and ConflictError when
        the file lacks what came through the API; then nothing is written. A process that dies after it wrote the file
        leaves a change that the next `apply` makes a version.
        """
        from monitoring_pipeline.store.documents import document_writer

        spec, folder = self.described(dataset_id)
        ref, now, path = self.ref(dataset_id), self.now(), folder / DOCUMENT_FILE
        who = author or self.author
        with document_writer(self.store, ref) as writer:
            text, data = self._present(spec, path, writer)
            present = _of_dataset(parse_document(data, source=str(path)), spec, path).document
            if text is not None:
                writer.check("monitors", present.to_json())
                writer.apply("monitors", present.to_json(), author=who, origin="file", now=now)
            data = dict(change(cast("dict[str, Any]", data), present))
            changed = _of_dataset(parse_document(data, source=str(path)), spec, path).document
            write_text(path, laid_out(data) if text is None else rewritten(text, data))
            self._reloaded(load_monitored_dataset(folder))
            return writer.apply("monitors", changed.to_json(), author=who, origin="file", now=now)

    def roll_back(self, dataset_id: str, number: int, *, author: str | None = None) -> DocumentVersion:
        """Make an old version of the monitor document the newest one, in the file and in the store.

        What the file says that was never applied becomes a version first, and a file that cannot be used is kept as
        `monitors.json.broken`. Raises UsageError when there is no such version, DocumentError when this release cannot
        use it.
        """
        from monitoring_pipeline.store.documents import document_writer

        spec, folder = self.described(dataset_id)
        ref, now, path = self.ref(dataset_id), self.now(), folder / DOCUMENT_FILE
        who = author or self.author
        with document_writer(self.store, ref) as writer:
            old = writer.version("monitors", number)
            _of_dataset(parse_document(old.content, source=f"version {number}"), spec, path)
            text = None
            if path.exists():
                try:
                    loaded = _of_dataset(load_document(path), spec, path)
                except DocumentError:
                    shutil.copy2(path, path.with_name(f"{DOCUMENT_FILE}.broken"))
                else:
                    text = read_text(path)
                    writer.apply(
                        "monitors", loaded.document.to_json(), author=who, origin="file", now=now, force=True
                    )
            write_text(path, laid_out(old.content) if text is None else rewritten(text, old.content))
            self._reloaded(load_monitored_dataset(folder))
            return writer.apply("monitors", old.content, author=who, origin="file", now=now, force=True)

    def _present(self, spec: DatasetSpec, path: Path, writer: DocumentWriter) -> tuple[str | None, object]:
        """The text of the monitor document's file, None without one, and what the document says."""
        if path.exists():
            data, _ = read_json(path)
            return read_text(path), data
        last = writer.latest("monitors")
        return None, dict(last.content) if last is not None else _empty_document(spec).to_json()

    def _reloaded(self, dataset: MonitoredDataset) -> MonitoredDataset:
        """Take what has been read anew into the catalog."""
        broken = {name: error for name, error in self.catalog.broken.items() if name != dataset.folder.name}
        self.catalog = Catalog({**self.catalog.datasets, dataset.id: dataset}, broken)
        return dataset
