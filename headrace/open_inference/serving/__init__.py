"""Processes that serve both doors: one that stops without failing a request, or several on one port under a parent."""
