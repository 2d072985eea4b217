"""What can go wrong with a read of RonDB's REST server; each text says what was found and what follows.

    StoreUnavailable
    |- ReadDeadlinePassed   no answer in time
    |- RonDBAway            nobody listens, the connection broke, or the server said 5xx or 429
    |- AccessRefused        the key, or what it may read
    |- BrokenAnswer         an answer that is none: cut off, not JSON, of another shape, or with all rows unread
    |- RowsUnread           an answer with some rows unread, as a key that its column cannot hold leaves one
    |- ViewAbsent           the view is not there, or does not serve a group

Neither keys of entities, nor payloads, nor API keys are ever in a text.
"""

from __future__ import annotations

from headrace.stores.online import StoreUnavailable


class RonDBAway(StoreUnavailable):
    """The server cannot be reached or cannot answer now."""


class AccessRefused(StoreUnavailable):
    """The server refused the API key."""


class BrokenAnswer(StoreUnavailable):
    """The server gave an answer from which nothing may be served."""


class ViewAbsent(StoreUnavailable):
    """The server does not know the feature view, or the view does not serve a group."""
