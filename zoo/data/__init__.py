"""Data sets by name or folder, and the one input pipeline. Knows no model."""
