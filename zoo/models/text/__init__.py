"""Models that classify texts."""
