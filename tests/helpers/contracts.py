"""What tests need to know about each task: one contract object per task, in CONTRACTS.

A contract gives a tiny model its assets, makes inputs, files and training data, and declares what the task's models can
do. A new task adds one class and one row of the table; tests select laws by what a contract declares. Nothing here
imports zoo, so that a process without it can read the same files.
"""

import json
import string
from pathlib import Path

import numpy as np
import soundfile as sf

from tests.helpers.box_folders import write_voc
from tests.helpers.drawings import draw_digit, draw_folder
from tests.helpers.masks import draw_mask_folder
from tests.helpers.portraits import draw_people

# The vocabulary of a tiny translator: the content of its files of symbols, of the source and of the target.
SYMBOLS = {
    "source_symbols.txt": "\n".join(string.ascii_lowercase + string.digits).encode(),
    "target_symbols.txt": "\n".join(string.ascii_uppercase).encode(),
}


def inputs_of(model) -> dict:
    """The symbolic inputs of a model by name."""
    return model.input if isinstance(model.input, dict) else {model.input.name: model.input}


def outputs_of(model) -> dict:
    """The symbolic outputs of a model by name."""
    return model.output if isinstance(model.output, dict) else {model.output_names[0]: model.output}


def run(model, inputs: dict, **options) -> dict:
    """The outputs of a model by name."""
    outputs = model(inputs, **options)
    return outputs if isinstance(outputs, dict) else {model.output_names[0]: outputs}


class Contract:
    """The contract of a task whose models take arrays of fixed shapes and answer with classes."""

    has_steps = False  # its models generate: they have `encode`, `initial_state` and `step`
    has_padding = False  # its models read sequences; `repadded` must then be defined
    answers_no_items = False  # a batch of no items has answers of size 0; oneDNN's convolutions fail for it
    assets: dict[str, bytes] = {}  # what a tiny model needs to answer
    settings: dict = {}  # of a tiny model
    training_settings: dict = {}  # of a run on `training_data`
    learned_sizes: tuple[str, ...] = ()  # the model's arguments that `adapt` takes from the training data
    shorter_answer = {"top": 2}  # a setting by which an answer has another size than by default
    learning_rate = 3e-3  # of Adam, with which a tiny model learns random targets in a few steps

    def complete(self, model) -> None:
        """Gives a new model the assets and settings without which it can't answer."""
        model.origin.assets, model.origin.settings = dict(self.assets), {**model.origin.settings, **self.settings}

    def sizes(self, tiny: dict) -> dict:
        """Arguments of a tiny model -> those that a run on `training_data` may set."""
        return {name: value for name, value in tiny.items() if name not in self.learned_sizes}

    def inputs(self, model, size: int, seed: int = 1) -> dict[str, np.ndarray]:
        """Random inputs of the model, a batch of `size`."""
        random = np.random.default_rng(seed)
        return {key: random.random((size, *tensor.shape[1:]), "float32") for key, tensor in inputs_of(model).items()}

    def targets(self, model, inputs: dict) -> np.ndarray:
        """Random targets for inputs, as the task's loss takes them."""
        size, classes = len(next(iter(inputs.values()))), outputs_of(model)["logits"].shape[-1]
        return np.random.default_rng(1).integers(0, classes, size)

    def beside(self, inputs: dict) -> dict[str, np.ndarray]:
        """The same inputs for the first item, other values for the rest."""
        return {key: np.concatenate([value[:1], 9 * value[1:]]) for key, value in inputs.items()}

    def repadded(self, inputs: dict) -> dict[str, np.ndarray]:
        """The same items with other values in their padding, and with more of it."""
        raise NotImplementedError

    def files(self, model, folder: Path) -> list[Path]:
        """Files of two good items and of a bad one between them."""
        raise NotImplementedError

    def item(self, file: Path):
        """What a user gives a pipeline for one of `files`."""
        return file

    def served(self, files: list[Path]) -> dict[str, list]:
        """What a client sends for `files` to the signature "serving_default"."""
        raise NotImplementedError

    def training_data(self, model, folder: Path) -> Path:
        """Tiny training data of three classes, or of a mapping that can be learned: the path for `data.folder`."""
        raise NotImplementedError


class ImageClassification(Contract):
    def files(self, model, folder):
        good, bad, other = folder / "good.png", folder / "bad.png", folder / "other.jpg"
        draw_digit("3", 40, ink=20, ground=230).save(good)
        draw_digit("7").save(other)
        bad.write_bytes(good.read_bytes()[:60])
        return [good, bad, other]

    def served(self, files):
        return {"image_bytes": [file.read_bytes() for file in files]}

    def training_data(self, model, folder):
        return draw_folder(folder)


class Detection(ImageClassification):
    """Objects of almost every picture are found by a tiny model with random weights: an answer is not empty."""

    settings = {"threshold": 0.2}
    learned_sizes = ("classes",)
    shorter_answer = {"most": 3}

    def targets(self, model, inputs):
        """Matched default boxes: most of one class, with the same offsets, so that they can be learned a little."""
        size, count = len(inputs["image"]), model.output["logits"].shape[1]
        random = np.random.default_rng(1)
        classes = np.where(random.random((size, count, 1)) < 0.9, 2, random.integers(0, 3, (size, count, 1)))
        return np.concatenate([classes, np.full((size, count, 4), 0.5)], axis=-1).astype("float32")

    def training_data(self, model, folder):
        return write_voc(folder)


class Segmentation(Contract):
    shorter_answer = {"orientations": 8}

    def targets(self, model, inputs):
        """A class for every pixel, whether it is not dark: mostly 1, so that the gradients of pixels do not cancel."""
        height, width = outputs_of(model)["logits"].shape[1:3]
        top, left = (inputs["image"].shape[1] - height) // 2, (inputs["image"].shape[2] - width) // 2
        return (inputs["image"][:, top : top + height, left : left + width, 0] > 0.1).astype("int32")

    def files(self, model, folder):
        return ImageClassification().files(model, folder)

    def served(self, files):
        return ImageClassification().served(files)

    def training_data(self, model, folder):
        return draw_mask_folder(folder, 20, (60, 60))


class TensorClassification(Contract):
    def files(self, model, folder):
        good, bad, other = folder / "good.npy", folder / "bad.npy", folder / "other.npy"
        values = np.random.default_rng(2).normal(size=(2, *model.input.shape[1:])).astype("float32")
        np.save(good, values[0])
        np.save(other, values[1])
        np.save(bad, np.where(values[0] == values[0].max(), np.nan, values[0]))
        return [good, bad, other]

    def served(self, files):
        return {"tensor": [np.load(file).astype("float32") for file in files]}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        for number, label in enumerate("abc"):
            (folder / label).mkdir(parents=True)
            for item in range(20):
                np.save(folder / label / f"{item}.npy", random.normal(number, 0.3, model.input.shape[1:]))
        return folder


class AudioClassification(Contract):
    has_padding = True

    def inputs(self, model, size, seed=1):
        """Frames of unequal numbers, with random frames behind them."""
        random = np.random.default_rng(seed)
        return {
            "frames": random.normal(size=(size, 9, model.input["frames"].shape[-1])).astype("float32"),
            "frame_count": np.resize([5, 9, 1, 6], size).astype("int32"),
        }

    def beside(self, inputs):
        frames, frame_count = inputs.values()
        return {
            "frames": np.concatenate([frames[:1], 9 * frames[1:]]),
            "frame_count": np.concatenate([frame_count[:1], frame_count[1:] // 2 + 1]),
        }

    def repadded(self, inputs):
        is_padding = np.arange(inputs["frames"].shape[1]) >= inputs["frame_count"][:, None]
        frames = np.where(is_padding[..., None], inputs["frames"][::-1] + 3, inputs["frames"])
        return {**inputs, "frames": np.concatenate([frames, frames[:, :3]], axis=1)}

    def files(self, model, folder):
        good, bad, other = folder / "good.wav", folder / "bad.wav", folder / "other.flac"
        tone = chirp(300, 0.21)
        sf.write(good, tone, 16_000, "FLOAT")
        sf.write(bad, np.where(tone == tone.max(), np.nan, tone), 16_000, "FLOAT")
        sf.write(other, chirp(900, 0.34), 16_000)
        return [good, bad, other]

    def served(self, files):
        """Waveforms with noise behind them."""
        waveforms = [sf.read(file, dtype="float32")[0] for file in files]
        longest = max(map(len, waveforms)) + 100
        noise = np.random.default_rng(5).normal(0, 9, (len(files), longest)).astype("float32")
        padded = [np.concatenate([wave, row[len(wave) :]]) for wave, row in zip(waveforms, noise, strict=True)]
        return {"waveform": padded, "samples": np.array([*map(len, waveforms)], "int32")}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        for pitch, label in ((300, "low"), (900, "middle"), (2700, "high")):
            (folder / label).mkdir(parents=True)
            for item in range(20):
                wave = chirp(pitch * random.uniform(0.9, 1.1), random.uniform(0.1, 0.3))
                sf.write(folder / label / f"{item}.wav", wave, 16_000)
        return folder


def chirp(pitch: float, seconds: float) -> np.ndarray:
    """A tone at 16 kHz that rises by a tenth, (T,)."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    return 0.3 * np.sin(2 * np.pi * pitch * time * (1 + 0.05 * time / seconds))


class Translation(Contract):
    has_steps = True
    learning_rate = 3e-2  # random sequences are hard to learn with three units per step
    has_padding = True
    answers_no_items = True
    assets = SYMBOLS
    settings = {"tokens": "spelling", "longest": 12, "beam": 3}
    training_settings = {"tokens": "spelling", "longest": 12}
    learned_sizes = ("source_vocabulary", "target_vocabulary")
    shorter_answer = {"n_best": 2}

    def inputs(self, model, size, seed=1):
        """Sources of unequal lengths, with random tokens behind them."""
        random = np.random.default_rng(seed)
        return {
            "source": random.integers(0, model.source_embedding.input_dim, (size, 7)).astype("int32"),
            "source_length": np.resize([4, 7, 1, 5], size).astype("int32"),
            "target": random.integers(0, outputs_of(model)["logits"].shape[-1], (size, 6)).astype("int32"),
        }

    def targets(self, model, inputs):
        """A token for every step."""
        return np.random.default_rng(1).integers(0, outputs_of(model)["logits"].shape[-1], inputs["target"].shape)

    def beside(self, inputs):
        return {key: np.concatenate([value[:1], (value[1:] + 1) % 5 + 1]) for key, value in inputs.items()}

    def repadded(self, inputs):
        is_padding = np.arange(inputs["source"].shape[1]) >= inputs["source_length"][:, None]
        source = np.where(is_padding, (inputs["source"] + 3) % 20, inputs["source"])
        return {**inputs, "source": np.concatenate([source, source[:, :3]], axis=1)}

    def files(self, model, folder):
        good, bad, other = folder / "good.txt", folder / "bad.txt", folder / "other.txt"
        good.write_text("hello")
        bad.write_text("na\u00efve", "utf-8")
        other.write_text("a2z")
        return [good, bad, other]

    def item(self, file):
        return file.read_text("utf-8")

    def served(self, files):
        return {"sentence": [file.read_bytes() for file in files]}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        words = ["".join(random.choice(list("abcdefgh"), random.integers(1, 7))) for _ in range(60)]
        path = folder.with_suffix(".tsv")
        path.write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))
        return path


# The words of a tiny captioner.
WORDS = [
    "a", "bag", "bell", "bird", "boat", "box", "boy", "car", "cat", "chair", "cup", "digit", "dog", "door", "fish",
    "girl", "hat", "is", "key", "lamp", "of", "one", "picture", "seven", "the", "zero",
]  # fmt: skip


class Captioning(Contract):
    has_steps = True
    learning_rate = 3e-2
    assets = {"target_symbols.txt": "\n".join(WORDS).encode()}
    settings = {"tokens": "spelling", "longest": 8, "beam": 3}
    training_settings = {"tokens": "spelling", "longest": 8}
    learned_sizes = ("target_vocabulary",)
    shorter_answer = {"n_best": 2}

    def inputs(self, model, size, seed=1):
        random = np.random.default_rng(seed)
        image = random.random((size, *model.input["image"].shape[1:]), "float32")
        target = random.integers(1, model.output["logits"].shape[-1], (size, 6)).astype("int32")
        return {"image": image, "target": target}

    def targets(self, model, inputs):
        """A token for every step."""
        return np.random.default_rng(1).integers(0, model.output["logits"].shape[-1], inputs["target"].shape)

    def beside(self, inputs):
        image, target = inputs["image"], inputs["target"]
        other = np.concatenate([target[:1], (target[1:] + 1) % 5 + 1])
        return {"image": np.concatenate([image[:1], 9 * image[1:]]), "target": other}

    def files(self, model, folder):
        return ImageClassification().files(model, folder)

    def served(self, files):
        return ImageClassification().served(files)

    def training_data(self, model, folder):
        draw_folder(folder)
        words = {"0": "zero", "1": "one", "7": "seven"}
        lines = [
            f"{file.relative_to(folder)}\t{text}\n"
            for file in sorted(folder.rglob("*.png"))
            for text in (f"a picture of the digit {words[file.parent.name]}", f"The {words[file.parent.name]}.")
        ]
        (folder / "captions.tsv").write_text("".join(lines))
        return folder


class LanguageModeling(Contract):
    has_steps = True
    assets = {"words.txt": "\n".join([*WORDS, "."]).encode()}
    settings = {"length": 5, "samples": 2, "longest": 12}
    training_settings = {"span": 6}
    learned_sizes = ("vocabulary",)
    learning_rate = 3e-2
    shorter_answer = {"samples": 1}

    def inputs(self, model, size, seed=1):
        random = np.random.default_rng(seed)
        state = model.input["state"]
        target = random.integers(1, model.output["logits"].shape[-1], (size, 6)).astype("int32")
        before = random.integers(1, 20, (size, *state.shape[1:])).astype(state.dtype)
        return {"target": target, "state": before / 20 if state.dtype == "float32" else before}

    def targets(self, model, inputs):
        """A token for every step."""
        return np.random.default_rng(1).integers(0, model.output["logits"].shape[-1], inputs["target"].shape)

    def beside(self, inputs):
        return {key: np.concatenate([value[:1], (value[1:] + 1) % 5 + 1]) for key, value in inputs.items()}

    def files(self, model, folder):
        good, bad, other = folder / "good.txt", folder / "bad.txt", folder / "other.txt"
        good.write_text("the cat is")
        bad.write_bytes(b"caf\xe9")
        other.write_text("one bird, two zebras of the picture.")
        return [good, bad, other]

    def item(self, file):
        return file.read_bytes()

    def served(self, files):
        return {"prompt": [file.read_bytes() for file in files]}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        path = folder.with_suffix(".txt")
        path.write_text("".join(f"the {word} is the {word} .\n" for word in random.choice(WORDS[:9], 1500)))
        return path


class TextClassification(Contract):
    has_padding = True
    assets = {"words.txt": "\n".join([*WORDS[:23], ".", "!", "'s"]).encode()}
    training_settings = {"longest": 20}
    learned_sizes = ("vocabulary",)
    learning_rate = 1e-2

    def inputs(self, model, size, seed=1):
        """Texts of unequal lengths, with random tokens behind them."""
        random = np.random.default_rng(seed)
        if "word_counts" not in model.input:
            tokens = random.integers(0, model.get_layer("embedding").input_dim, (size, 7)).astype("int32")
            return {"tokens": tokens, "token_count": np.resize([4, 7, 1, 5], size).astype("int32")}
        tokens = random.integers(0, model.get_layer("embedding").input_dim, (size, 3, 5)).astype("int32")
        counts = np.resize([[3, 5, 1], [4, 0, 0], [1, 2, 0], [5, 5, 5]], (size, 3)).astype("int32")
        return {"tokens": tokens, "word_counts": counts}

    def beside(self, inputs):
        tokens, counts = inputs.values()
        other = np.concatenate([tokens[:1], (tokens[1:] + 1) % 20 + 1])
        return {**inputs, "tokens": other, next(reversed(inputs)): np.concatenate([counts[:1], counts[1:][::-1]])}

    def repadded(self, inputs):
        tokens, counts = inputs.values()
        is_padding = np.arange(tokens.shape[-1]) >= counts[..., None]
        tokens = np.where(is_padding, (tokens + 3) % 20, tokens)
        tokens = np.concatenate([tokens, tokens[..., :3]], axis=-1)
        if counts.ndim == 1:
            return {**inputs, "tokens": tokens}
        counts = np.concatenate([counts, np.zeros_like(counts[:, :2])], axis=1)
        return {"tokens": np.concatenate([tokens, tokens[:, :2]], axis=1), "word_counts": counts}

    def files(self, model, folder):
        good, bad, other = folder / "good.txt", folder / "bad.txt", folder / "other.txt"
        good.write_text("The bird is a zebra.")
        bad.write_bytes(b"caf\xe9")
        other.write_text("A cat! The dog isn't a bird ... the boy's car and a boat.")
        return [good, bad, other]

    def item(self, file):
        return file.read_bytes()

    def served(self, files):
        return {"text": [file.read_bytes() for file in files]}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        path = folder.with_suffix(".tsv")
        rows = [f"{' '.join(random.choice(WORDS[:12], 5))} {label}.\t{label}\n" for label in "abc" for _ in range(20)]
        path.write_text("text\tlabel\n" + "".join(rows))
        return path


class QuestionAnswering(Contract):
    has_padding = True
    answers_no_items = True
    assets = {"words.txt": "\n".join(WORDS).encode()}
    learned_sizes = ("vocabulary", "classes")
    learning_rate = 1e-2

    def inputs(self, model, size, seed=1):
        """Stories of unequal lengths, one of them longer than the memory, with an empty line in another."""
        random = np.random.default_rng(seed)
        layer = model.get_layer("memory")
        words = np.resize([[5, 3, 4, 1, 2, 5, 1], [4, 0, 3, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0]], (size, 7))
        asked = np.resize([3, 1, 4], size)
        story = random.integers(4, layer.vocabulary, (size, 7, 5)) * (np.arange(5) < words[..., None])
        question = random.integers(4, layer.vocabulary, (size, 4)) * (np.arange(4) < asked[:, None])
        inputs = {"story": story, "line_count": np.resize([7, 3, 2], size), "question": question}
        return {name: value.astype("int32") for name, value in inputs.items()}

    def beside(self, inputs):
        story, line_count, question = inputs.values()
        return {
            "story": np.concatenate([story[:1], np.where(story[1:], (story[1:] + 1) % 20 + 4, 0)]),
            "line_count": np.concatenate([line_count[:1], line_count[1:][::-1]]),
            "question": np.concatenate([question[:1], np.where(question[1:], (question[1:] + 1) % 20 + 4, 0)]),
        }

    def repadded(self, inputs):
        """Other lines after the last one, and places without a word after every line and question."""
        story, line_count, question = inputs.values()
        is_line = np.arange(story.shape[1]) < line_count[:, None]
        story = np.where(is_line[..., None], story, story[::-1, ::-1])
        story = np.pad(np.concatenate([story, story[:, :2]], axis=1), [(0, 0), (0, 0), (0, 3)])
        return {**inputs, "story": story, "question": np.pad(question, [(0, 0), (0, 2)])}

    def files(self, model, folder):
        good, bad, other = folder / "good.json", folder / "bad.json", folder / "other.json"
        good.write_text(json.dumps({"story": "The bird is a zebra.\n\nA cat.", "question": "The cat?"}))
        bad.write_text(json.dumps({"story": "A cat.", "question": "  "}))
        long = "One boy, the girl. A dog\n" * 10
        other.write_text(json.dumps({"story": long, "question": "Is the zebra a dog"}))
        return [good, bad, other]

    def item(self, file):
        return json.loads(file.read_text())

    def served(self, files):
        items = [self.item(file) for file in files]
        return {name: [item[name] for item in items] for name in ("story", "question")}

    def training_data(self, model, folder):
        """Where somebody is, which the last line with the name says, most often in x."""
        random = np.random.default_rng(3)
        path, rows = folder.with_suffix(".jsonl"), []
        for _ in range(80):
            places = random.choice(list("xyz"), 4, p=(0.7, 0.15, 0.15))
            lines = [f"The {random.choice(WORDS[3:6])} is in the {place}." for place in places]
            name, place = lines[-1].split()[1], lines[-1].split()[-1].strip(".")
            rows.append({"story": "\n".join(lines), "question": f"Where is the {name}?", "answer": place})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path


class SpeechRecognition(AudioClassification):
    answers_no_items = True
    assets = {"alphabet.txt": b" abcd"}
    settings = {"front_end": {"filters": 20, "normalize": "utterance"}}
    training_settings = settings
    learned_sizes = ("symbols",)
    learning_rate = 3e-2
    shorter_answer = {"beam": 2}

    def inputs(self, model, size, seed=1):
        """As those of AudioClassification, but long enough for the targets."""
        random = np.random.default_rng(seed)
        return {
            "frames": random.normal(size=(size, 15, model.input["frames"].shape[-1])).astype("float32"),
            "frame_count": np.resize([11, 15, 9, 13], size).astype("int32"),
        }

    def targets(self, model, inputs):
        """Two symbols and their padding."""
        labels = np.random.default_rng(1).integers(1, model.output["logits"].shape[-1], (len(inputs["frames"]), 3))
        return np.where(np.arange(3) < 2, labels, 0).astype("int32")

    def training_data(self, model, folder):
        """Tones of three pitches, one per letter."""
        random = np.random.default_rng(3)
        folder.mkdir(parents=True)
        pitches, lines = {"a": 300, "b": 900, "c": 2700}, []
        for number in range(40):
            letters = random.choice(list(pitches), random.integers(1, 4))
            sf.write(folder / f"{number}.wav", np.concatenate([chirp(pitches[each], 0.1) for each in letters]), 16_000)
            lines.append(f"{number}.wav\t{' '.join(letters)}\n")
        (folder / "transcripts.tsv").write_text("".join(lines))
        return folder


class FrameClassification(AudioClassification):
    answers_no_items = True
    settings = {"front_end": {"filters": 20, "normalize": "utterance"}}
    training_settings = settings
    learned_sizes = ("classes",)
    shorter_answer = {"longest": 5.0}
    learning_rate = 3e-2  # layers of sigmoid units learn slowly

    def targets(self, model, inputs):
        """A class for every frame, which can be learned: that of the greatest of as many features."""
        return np.argmax(inputs["frames"][..., : model.output["logits"].shape[-1]], axis=-1)

    def training_data(self, model, folder):
        """A low and a high tone of ten to thirty frames each; a frame is 25 ms at every 10 ms."""
        random = np.random.default_rng(3)
        folder.mkdir(parents=True)
        lines = []
        for number in range(40):
            low, high = random.integers(10, 30, 2)
            wave = np.concatenate([chirp(300, 0.01 * low), chirp(2700, 0.01 * high + 0.1)])
            wave = wave[: 160 * (low + high) + 240]  # exactly so many frames
            sf.write(folder / f"{number}.wav", wave, 16_000)
            lines.append(f"{number}.wav\tLOW {low} HIGH {high}\n")
        (folder / "phones.tsv").write_text("".join(lines))
        return folder


class SequenceTransduction(Contract):
    has_padding = True
    answers_no_items = True
    learned_sizes = ("width", "bits")
    learning_rate = 1e-2
    shorter_answer = {"answer_length": 2}

    def inputs(self, model, size, seed=1):
        """Vectors of bits, in unequal numbers, an end mark, and zeros."""
        width, lengths = inputs_of(model)["sequence"].shape[-1], np.resize([4, 2, 1, 3], size)
        vectors = np.random.default_rng(seed).integers(0, 2, (size, 9, width))
        steps = np.arange(9) - lengths[:, None]
        vectors = np.where(steps[..., None] < 0, vectors, 0)
        vectors[..., -1] = steps == 0
        return {"sequence": vectors.astype("float32")}

    def targets(self, model, inputs):
        """Bits for every step, most of them 1, so that they can be learned a little."""
        sizes = (*inputs["sequence"].shape[:2], outputs_of(model)["logits"].shape[-1])
        return (np.random.default_rng(1).random(sizes) < 0.9).astype("float32")

    def repadded(self, inputs):
        """More steps after the last one."""
        return {"sequence": np.concatenate([inputs["sequence"], inputs["sequence"][:, :3] + 3], axis=1)}

    def files(self, model, folder):
        good, bad, other = folder / "good.npy", folder / "bad.npy", folder / "other.npy"
        width = inputs_of(model)["sequence"].shape[-1] - 1
        values = np.random.default_rng(2).integers(0, 2, (9, width))
        np.save(good, values[:5].astype(bool))
        np.save(bad, values[:4] + 0.5)
        np.save(other, values[5:7].astype("float32"))
        return [good, bad, other]

    def served(self, files):
        """Sequences with ones behind them."""
        sequences = [np.load(file).astype("float32") for file in files]
        longest = max(map(len, sequences)) + 1
        padded = [np.pad(each, ((0, longest - len(each)), (0, 0)), constant_values=1.0) for each in sequences]
        return {"sequence": padded, "length": np.array([*map(len, sequences)], "int32")}

    def training_data(self, model, folder):
        """Three vectors and their copy, most of them ones."""
        random, path = np.random.default_rng(3), folder.with_suffix(".jsonl")
        rows = [(random.random((3, 3)) < 0.95).astype(int).tolist() for _ in range(120)]
        path.write_text("".join(json.dumps({"input": row, "output": row}) + "\n" for row in rows))
        return path


class Verification(Contract):
    shorter_answer = {"windows": 2}

    def targets(self, model, inputs):
        """One picture is of another person, so that rounding can't change which negative a triplet gets."""
        return (np.arange(len(inputs["image"])) == 0).astype("int64")

    def beside(self, inputs):
        """Other pictures, because brighter ones would have the same embeddings."""
        return {key: np.concatenate([value[:1], 1 - value[1:, ::-1]]) for key, value in inputs.items()}

    def files(self, model, folder):
        return ImageClassification().files(model, folder)

    def served(self, files):
        return ImageClassification().served(files)

    def training_data(self, model, folder):
        return draw_people(folder, 12, 4, (24, 32))


class WordEmbedding(Contract):
    answers_no_items = True
    assets = {
        "words.tsv": "".join(
            f"{word}\t{count}\n" for word, count in zip(["king", "man", *WORDS[:18]], range(40, 20, -1), strict=True)
        ).encode()
    }
    training_settings = {"least_count": 1}
    learned_sizes = ("vocabulary",)
    learning_rate = 1e-1  # vectors start near zero

    def inputs(self, model, size, seed=1):
        random = np.random.default_rng(seed)
        count = model.get_layer("embedding").input_dim
        return {key: random.integers(0, count, (size, tensor.shape[1])).astype("int32")
                for key, tensor in model.input.items()}  # fmt: skip

    def targets(self, model, inputs):
        """No word is missing."""
        return np.ones(inputs["words"].shape, "float32")

    def beside(self, inputs):
        return {key: np.concatenate([value[:1], (value[1:] + 1) % 20]) for key, value in inputs.items()}

    def files(self, model, folder):
        good, bad, other = folder / "good.txt", folder / "bad.txt", folder / "other.txt"
        good.write_text("king - man + boy")
        bad.write_text("kinf")
        other.write_text("man")
        return [good, bad, other]

    def item(self, file):
        return file.read_text("utf-8")

    def served(self, files):
        return {"expression": [file.read_bytes() for file in files]}

    def training_data(self, model, folder):
        random = np.random.default_rng(3)
        path = folder.with_suffix(".txt")
        path.write_text(" ".join(random.choice(WORDS, 600)))
        return path


CONTRACTS = {
    "audio_classification": AudioClassification(),
    "captioning": Captioning(),
    "detection": Detection(),
    "frame_classification": FrameClassification(),
    "image_classification": ImageClassification(),
    "question_answering": QuestionAnswering(),
    "language_modeling": LanguageModeling(),
    "segmentation": Segmentation(),
    "sequence_transduction": SequenceTransduction(),
    "speech_recognition": SpeechRecognition(),
    "text_classification": TextClassification(),
    "tensor_classification": TensorClassification(),
    "translation": Translation(),
    "verification": Verification(),
    "word_embedding": WordEmbedding(),
}


def contract_of(model) -> Contract:
    """The contract of the task that a model was made for."""
    return CONTRACTS[model.origin.task]
