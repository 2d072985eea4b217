"""Streams into stored features: sources, the fold, dead letters and backfill."""
