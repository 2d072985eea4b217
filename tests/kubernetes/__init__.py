"""A small Kubernetes API server for tests: it stores objects, and something in it pretends to be their controllers.

What it does it does over HTTP as the real one: discovery, server-side apply with its conflicts, resource versions,
lists and watches with selectors, dry runs, refusals by rule, events and the proxy to pods. What it leaves out: schemas,
so that any field is accepted, protobuf, and lists merged by another key than `name`. kubectl takes it for a cluster.
"""
