"""Leaving and moving: datasets of the store as a folder of Parquet files, and such a folder into a store."""

from __future__ import annotations

from monitoring_pipeline.portability.exporting import Exported, export_datasets
from monitoring_pipeline.portability.importing import Imported, import_folder

__all__ = ["Exported", "Imported", "export_datasets", "import_folder"]
