"""Presets: folders that hold everything needed to use a trained model.

lenet5.mnist/
  preset.json         model, task, provenance, metrics, terms; sha256 and size of each other file
  model.weights.h5
  assets/             vocabularies, tokenizers
  samples/            inputs whose expected answers are in preset.json
  README.md           the model card, written from preset.json

One module per question: folders.py (where a preset is), preset.py and preset_json.py (what it contains), weights.py,
parts.py (presets inside a preset), card.py, loading.py, writing.py (the files on disk), saving.py (from a model to a
preset), listing.py, cache.py (downloads).
"""

from zoo.preset.folders import BUNDLED, bundled, is_path, open_preset
from zoo.preset.listing import list_models, model_info, rows
from zoo.preset.loading import create_model, load_model
from zoo.preset.preset import WEIGHTS, Preset, sha256
from zoo.preset.writing import update, write

__all__ = [
    "BUNDLED",
    "WEIGHTS",
    "Preset",
    "bundled",
    "create_model",
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
