"""`python -m monitoring_pipeline.cli` is `monitor`."""

from monitoring_pipeline.cli import main

main()
