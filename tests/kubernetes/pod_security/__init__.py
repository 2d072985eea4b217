"""Kubernetes' own Pod Security and the kinds of today, in a program of Go, and what they say of our manifests."""
