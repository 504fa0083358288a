"""Profiles against baselines: which analyzers are due (`gates`), what they are given, and what they find (`engine`)."""
