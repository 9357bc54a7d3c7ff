"""Verification: a portrait in, its embedding out; two portraits are compared by the distance of their embeddings."""

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
