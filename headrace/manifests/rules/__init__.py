"""What no schema catches: each module holds the mistakes of one subject, in a tuple RULES."""
