"""From a file that nobody has described yet to a monitored dataset: what `monitor init` does."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from monitoring_pipeline.config.dataset import parse_dataset
from monitoring_pipeline.config.document import parse_document
from monitoring_pipeline.config.presets import dataset_document, first_monitors
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.sources.inspect import describe_file
from monitoring_pipeline.workspace import DATASET_FILE, DOCUMENT_FILE


@dataclass(frozen=True)
class Onboarded:
    """The files that were written, and what was seen and guessed on the way."""

    dataset_id: str
    dataset_file: Path
    document_file: Path
    notes: tuple[str, ...]


def init_dataset(
    home: Path,
    file: str,
    *,
    dataset_id: str | None = None,
    timestamp: str | None = None,
    force: bool = False,
) -> Onboarded:
    """Look at a file, folder or glob, and write a dataset description and first monitors into the workspace.

    Raises UsageError when the dataset is described already (unless `force`), SourceError when there is nothing to read.
    """
    chosen = dataset_id or _name_of(file)
    folder = home / "datasets" / chosen
    dataset_file, document_file = folder / DATASET_FILE, folder / DOCUMENT_FILE
    if dataset_file.exists() and not force:
        raise UsageError(
            f"{dataset_file} exists; edit it, name another dataset with --id, or overwrite it with --force"
        )
    description = describe_file(_located(file, home), home=home, timestamp=timestamp)
    described = dataset_document(description, dataset_id=chosen)
    parse_dataset(described, source=str(dataset_file))
    document = first_monitors(description, dataset_id=chosen, now=datetime.now(UTC))
    parse_document(document, source=str(document_file))
    folder.mkdir(parents=True, exist_ok=True)
    notes = "".join(f"# {note}\n" for note in description.notes)
    dataset_file.write_text(notes + yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    document_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return Onboarded(chosen, dataset_file, document_file, description.notes)


def _located(file: str, home: Path) -> str:
    """The path as the description keeps it: a URL as it is, inside the workspace relative to it, otherwise absolute."""
    if "://" in file:
        return file
    absolute, root = Path(os.path.abspath(file)), home.absolute()  # noqa: PTH100 - a glob need not exist
    return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)


def _name_of(file: str) -> str:
    """A dataset id made from the name of the file or folder."""
    stem = Path(file.rstrip("/*")).name.split(".")[0] or "dataset"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "dataset"
