"""A small business that scores leads, with planted incidents: data to try the pipeline on, and the truth to judge it by.

`business.py` writes the landing folders, `incidents.py` knows what was planted and compares it with what was found.
"""
