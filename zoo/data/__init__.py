"""Data sets by name or path, and the input pipeline. Independent of models and tasks."""
