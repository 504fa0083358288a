"""The Dagster face: assets, checks, one sensor, jobs and resources over `pipeline.py`. Start at `definitions.py`."""
