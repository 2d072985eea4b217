"""Tests of the reader of RonDB's REST server."""
