"""Monitoring of data and models: profiles, baselines, few and true alerts.

`pipeline` is the whole in four functions, `workspace.Workspace` what they work on, `profiling.profile` the part that is
useful by itself.
"""
