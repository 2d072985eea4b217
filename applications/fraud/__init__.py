"""Card fraud: payments, what is known of their cards and terminals, and a model over both."""

from applications.fraud.app import APP

__all__ = ["APP"]
