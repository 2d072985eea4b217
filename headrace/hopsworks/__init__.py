"""Hopsworks as the feature store: what is declared there, how it is written, and how a request reads it."""
