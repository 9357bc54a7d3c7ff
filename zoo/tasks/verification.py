"""Verification: a portrait in, its embedding out; two portraits are compared by the distance of their embeddings."""

import tensorflow as tf

from zoo.data.person_folders import PersonFolders
from zoo.tasks.inputs.image import SUFFIXES, ImageInput
from zoo.tasks.outputs.embedding import Embedding
from zoo.tasks.settings import VerificationSettings


class Verification(ImageInput, Embedding):
    """Embeddings of portraits, by a model of a fixed size."""

    name = "verification"
    Settings = VerificationSettings
    fields = ("image", "person")
    layout = PersonFolders(SUFFIXES)
    explanations = {"likeness": "zoo.explaining.likeness"}

    def merge_windows(self, name, output):
        """The mean of the embeddings of several windows, on the unit sphere again."""
        merged = super().merge_windows(name, output)
        return tf.math.l2_normalize(merged, axis=-1) if name == "embeddings" else merged
