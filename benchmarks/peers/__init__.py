"""What Headrace is measured against, written as people write it."""
