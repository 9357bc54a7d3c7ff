"""Folders of the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "tests" / "photos"
SOUNDS = ROOT / "tests" / "sounds"
