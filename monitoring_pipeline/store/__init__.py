"""The time-series database: profiles, metrics, results, documents and digests of every dataset.

Start with `database.py`, which opens it, and `schema.py`, which says what is in it. Each other module holds the
questions and changes of one kind of thing; nothing above this package knows SQL.
"""
