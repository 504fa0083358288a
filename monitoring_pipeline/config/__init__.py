"""The monitor document and the dataset description, validated. `document.py` is the first file to open."""

from monitoring_pipeline.config.analyzers import Analyzer, parse_analyzer, parse_config
from monitoring_pipeline.config.dataset import DatasetSpec, ProfileSettings, load_dataset, parse_dataset
from monitoring_pipeline.config.document import (
    Fragment,
    LoadedDocument,
    MonitorDocument,
    json_schema,
    load_document,
    parse_document,
    parse_fragment,
)
from monitoring_pipeline.config.entity_schema import ColumnSchema, EntitySchema, WeightConfig
from monitoring_pipeline.config.monitors import Monitor, parse_monitor
from monitoring_pipeline.config.targets import (
    ColumnMatrix,
    DatasetMatrix,
    parse_target_matrix,
    selects_column,
    selects_segment,
)

__all__ = [
    "Analyzer",
    "ColumnMatrix",
    "ColumnSchema",
    "DatasetMatrix",
    "DatasetSpec",
    "EntitySchema",
    "Fragment",
    "LoadedDocument",
    "Monitor",
    "MonitorDocument",
    "ProfileSettings",
    "WeightConfig",
    "json_schema",
    "load_dataset",
    "load_document",
    "parse_analyzer",
    "parse_config",
    "parse_dataset",
    "parse_document",
    "parse_fragment",
    "parse_monitor",
    "parse_target_matrix",
    "selects_column",
    "selects_segment",
]
