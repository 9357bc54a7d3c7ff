"""Segmentation: an image of any size in, the class of each of its pixels out."""

from zoo.data.mask_folders import MaskFolder
from zoo.tasks.inputs.image import SUFFIXES
from zoo.tasks.inputs.picture import PictureInput
from zoo.tasks.outputs.pixels import PixelClasses
from zoo.tasks.settings import SegmentationSettings


class Segmentation(PictureInput, PixelClasses):
    """Classes of pixels, by a model that answers a tile of a fixed size."""

    name = "segmentation"
    Settings = SegmentationSettings
    fields = ("image", "mask")
    layout = MaskFolder(SUFFIXES)
    explanations = {"outlines": "zoo.explaining.outlines"}
