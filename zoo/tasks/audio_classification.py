"""Audio classification: a sound in, labels and their probabilities out."""

from zoo.tasks.inputs.audio import AudioInput
from zoo.tasks.outputs.classification import Classification
from zoo.tasks.settings import AudioClassificationSettings


class AudioClassification(AudioInput, Classification):
    """Classes of sounds of any length up to a limit, such as isolated words."""

    name = "audio_classification"
    Settings = AudioClassificationSettings
    fields = (("waveform", "frames"), "label")
    explanations = {"heat": "zoo.explaining.spectrogram"}

    def portable(self, is_rounded):
        """`frames` and `frame_count` -> `scores` (B, classes); the runner has the front end."""
        self.check_complete()

        def scores(frames, frame_count):
            return {"scores": self.probabilities(self.outputs({"frames": frames, "frame_count": frame_count}))}

        return scores, self.portable_specs(), self.finish
