"""Presets: folders that hold everything needed to use a trained model.

lenet5.mnist/
  preset.json         what it is, where it comes from, how good it is, terms; sha256 and size of each other file
  model.weights.h5
  assets/             vocabularies, tokenizers
  samples/            inputs, with the answers they must give
  README.md           the model card, written from preset.json

One file per question: folders.py (where is it), preset.py and preset_json.py (what is in it), weights.py, card.py,
loading.py, writing.py (the files on disk), saving.py (a model becomes a preset), listing.py, cache.py (downloads).
"""

from zoo.preset.folders import BUNDLED, is_path, open_preset
from zoo.preset.listing import list_models, model_info, rows
from zoo.preset.loading import load_model
from zoo.preset.preset import WEIGHTS, Preset, sha256
from zoo.preset.writing import update, write

__all__ = [
    "BUNDLED",
    "WEIGHTS",
    "Preset",
    "is_path",
    "list_models",
    "load_model",
    "model_info",
    "open_preset",
    "rows",
    "sha256",
    "update",
    "write",
]
