"""Frame classification: a sound in, the phone of every frame out."""

from zoo.data.layouts import FrameTable
from zoo.tasks.inputs.audio import SUFFIXES, AudioInput
from zoo.tasks.outputs.frames import FrameLabels
from zoo.tasks.settings import FrameClassificationSettings


class FrameClassification(AudioInput, FrameLabels):
    """Sounds to segments of phones, by a model with an output per frame."""

    name = "frame_classification"
    Settings = FrameClassificationSettings
    fields = (("waveform", "frames"), "phones")
    layout = FrameTable("phones.tsv", "waveform", "phones", "sounds", SUFFIXES)
