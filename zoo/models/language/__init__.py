"""Models that read and write."""
