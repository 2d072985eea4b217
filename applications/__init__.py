"""What features are for: one folder per application."""
