"""Manifests: what kustomize makes of them, what is wrong with them, and how a cluster comes to hold them.

An object is a dictionary as its YAML document gives it; a set of objects is a list in the order they were rendered.
"""
