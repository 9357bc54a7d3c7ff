"""Speech recognition: a sound in, what is said and when out."""

import numpy as np
import tensorflow as tf

from zoo.data import sound
from zoo.data.layouts import FolderTable
from zoo.errors import ZooError
from zoo.tasks.hearing import Heard
from zoo.tasks.inputs.audio import SUFFIXES, AudioInput
from zoo.tasks.outputs.transcription import Transcription
from zoo.tasks.settings import SpeechRecognitionSettings


class SpeechRecognition(AudioInput, Transcription):
    """Sounds to transcripts, by a model with the inputs `frames` and `frame_count` and CTC's logits."""

    name = "speech_recognition"
    Settings = SpeechRecognitionSettings
    fields = (("waveform", "frames"), "transcript")
    layout = FolderTable("transcripts.tsv", "waveform", "transcript", "sounds", SUFFIXES, is_single=True)

    def frame_counts(self, source):
        """The number of frames of each example; of a file, from its header."""
        stubs = source.stubs
        if "frames" in source.dataset.element_spec:
            if "frame_count" in stubs.element_spec:
                counts = stubs.map(lambda stub: stub["frame_count"])
            else:
                counts = source.dataset.map(lambda example: tf.shape(example["frames"])[0])
            return [int(count) for count in counts.as_numpy_iterator()]
        if "file" in stubs.element_spec:
            files = [stub["file"].decode() for stub in stubs.as_numpy_iterator()]
            samples = [round(sound.seconds(file) * self.rate) for file in files]
        elif "samples" in stubs.element_spec:
            samples = [*stubs.map(lambda stub: stub["samples"]).as_numpy_iterator()]
        else:
            samples = [*source.dataset.map(lambda example: tf.size(example["waveform"])).as_numpy_iterator()]
        return self.front_end.frame_count(np.array(samples)).tolist()

    def portable(self, is_rounded):
        """`frames` and `frame_count` -> `probabilities` (B, T, V); the runner has the front end, and decodes."""
        self.check_complete()
        if self.settings.beam > 1:
            raise ZooError(f"{self.name} can be exported as saved_model only with beam > 1: set beam=1")

        def probabilities(frames, frame_count):
            logits = self.model({"frames": frames, "frame_count": frame_count}, training=False)["logits"]
            return {"probabilities": tf.nn.softmax(logits)}

        return probabilities, self.portable_specs(), self.finish

    def hearing(self) -> Heard:
        """A function of the next chunk of a sound -> the answer so far.

        Raises:
            ZooError: the model or its front end needs the whole sound.
        """
        return Heard(self)
