"""Servers of other projects, each run by the Python of an environment of its own: they import nothing of ours."""
