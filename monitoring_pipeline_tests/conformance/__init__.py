"""The reference platform's test vectors, run through this system: `python -m monitoring_pipeline_tests.conformance`.

`runner.py` is the first file to open. `exceptions.json` lists the cases that this system answers differently on
purpose, each with the decision that explains it.
"""
