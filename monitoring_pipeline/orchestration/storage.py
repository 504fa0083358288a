"""Where Dagster keeps its runs: SQLite files in the workspace, or PostgreSQL as soon as the environment names one.

`dagster.yaml` names `EnvironmentStorage`, so that moving to PostgreSQL is one environment variable and no edited file.
"""

from __future__ import annotations

import os
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from monitoring_pipeline.errors import UsageError

URL_VARIABLE = "DAGSTER_POSTGRES_URL"


class EnvironmentStorage(DagsterStorage, ConfigurableClass):
    """PostgreSQL where DAGSTER_POSTGRES_URL is set, else SQLite in the configured `base_dir`.

    Never an object itself: reading its configuration gives one of the two.
    """

    @classmethod
    def config_type(cls) -> Any:
        """The configuration of the SQLite storage."""
        return DagsterSqliteStorage.config_type()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """The storage that the environment asks for. Raises UsageError when its driver is not installed."""
        url = os.environ.get(URL_VARIABLE)
        if not url:
            return DagsterSqliteStorage(config_value["base_dir"], inst_data)
        try:
            from dagster_postgres import DagsterPostgresStorage
        except ImportError:
            raise UsageError(
                f"{URL_VARIABLE} is set, but the driver is missing; run: pip install 'monitoring-pipeline[postgres]'"
            ) from None
        # Dagster speaks to PostgreSQL through psycopg2; SQLAlchemy has another driver as its default.
        scheme, _, rest = url.partition("://")
        if scheme in {"postgres", "postgresql"}:
            url = f"postgresql+psycopg2://{rest}"
        return DagsterPostgresStorage.from_config_value(inst_data, {"postgres_url": url})
