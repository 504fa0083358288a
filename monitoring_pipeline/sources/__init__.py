"""Where data comes from. `base.py` says what a source reports; `files.py` reads Parquet, CSV and JSON lines."""
