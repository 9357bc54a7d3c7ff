"""Answers with a model that keras-zoo exported for ONNX Runtime or LiteRT; does not need keras-zoo.

    python run.py INPUT... [--json] [--out FOLDER]

INPUT is an image file; a sound file, or a .npy file of samples at the model's rate; or a .npy file if the model takes
tensors. `pip install numpy`, pillow for images, soundfile and soxr for sounds, and onnxruntime or ai-edge-litert. From
Python: `Model(folder)(input)`.
"""

import argparse
import base64
import importlib
import io
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

MAX_PIXELS = 50_000_000
LOUDEST = 8.0  # lossy formats exceed 1 a little
RATES = (1_000, 1_000_000)  # lowest and highest samples per second of a sound file
MIDDLES = {"uint8": 128, "int16": 0, "int32": 0}  # value of silence in integer samples
ORDERS = {b"RIFF": "little", b"RIFX": "big", b"FORM": "big"}  # start of WAV and AIFF files -> their order of bytes
STREAMED = 0x7FFFF000  # a size of samples of a program that did not know it
WORKING_SIDE = 160  # a larger picture is reduced to this size before its drawing is located


class Model:
    """An exported model: from an input to labels and their scores, or to a transcript.

    Args:
        folder: the folder of manifest.json and the model.
        top: number of labels in an answer; by default as exported.
    """

    def __init__(self, folder, top=None):
        self.manifest = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        self.settings, self.labels = self.manifest["settings"], self.manifest.get("labels")
        self.top = top or self.settings.get("top")
        self.prepare = PREPARATIONS[self.manifest["input"]["kind"]]
        path = Path(folder) / self.manifest["file"]
        self.run = onnx_session(path) if path.suffix == ".onnx" else litert_session(path)

    def __call__(self, item) -> dict:
        """A path, or an array (pixels (H, W, 3) uint8, or samples (T,)), to {"labels", "scores"}.

        A model that transcribes answers with {"transcript", "score", "words"}, one that writes vectors of bits with
        {"vectors"}, and a detector with {"objects"}. A model of the classes of pixels answers with {"classes", "mask"}:
        the fraction of each class, and a PNG file of class numbers, as bytes. A model of faces answers with
        {"embedding"}, a list of numbers. A bad item raises an error.
        """
        front_end = self.manifest.get("front_end")
        if front_end:
            item = heard(item, front_end["rate"], self.settings["longest"])
        if "tiles" in self.manifest:
            return self.segmented(item)
        if self.manifest.get("boxes") == "stretched" and isinstance(item, (str, Path)):
            item = decoded(item)
        inputs = self.inputs(item)
        outputs = self.run(inputs)
        if "boxes" in outputs:
            return detected(outputs["boxes"][0], outputs["scores"][0], self.labels, self.settings, item.shape[:2])
        if "logits" in outputs:
            return transduced(outputs["logits"][0], inputs[self.manifest["input"]["name"]].shape[1])
        if "probabilities" in outputs:
            return transcribed(outputs["probabilities"][0], self.manifest, len(item) / front_end["rate"])
        if "embeddings" in outputs:
            return {"embedding": outputs["embeddings"][0].tolist()}
        scores = outputs["scores"][0]
        best = np.argsort(-scores, kind="stable")[: self.top]
        return {"labels": [self.labels[place] for place in best], "scores": [float(scores[place]) for place in best]}

    def inputs(self, item) -> dict:
        """A path or an array -> the inputs of the model file, a batch of one item."""
        wanted = self.manifest["input"] | {"front_end": self.manifest.get("front_end")}
        if "tiles" in self.manifest:
            return {wanted["name"]: next(self.tiles(picture_of(item, wanted["shape"][-1])))[0][np.newaxis]}
        wanted["is_stretched"] = self.manifest.get("boxes") == "stretched"
        value = self.prepare(item, self.settings, wanted)
        length = {wanted["length"]: np.array([len(value)], "int32")} if "length" in wanted else {}
        return {wanted["name"]: value[np.newaxis], **length}

    def tiles(self, picture):
        """A picture (H, W, C) -> each tile (h, w, C), 0 to 255, and the first row and column of the part it answers.

        Beyond the edges of the picture is its mirror image.
        """
        wanted, context = self.manifest["input"], self.manifest["tiles"]["context"]
        size = wanted["shape"][:2]
        steps = [side - 2 * around for side, around in zip(size, context, strict=True)]
        for row in range(0, picture.shape[0], steps[0]):
            for column in range(0, picture.shape[1], steps[1]):
                tile = picture
                for axis, corner in enumerate((row, column)):
                    length = picture.shape[axis]
                    places = (corner - context[axis] + np.arange(size[axis])) % (2 * length)
                    tile = np.take(tile, np.minimum(places, 2 * length - 1 - places), axis=axis)
                rounded = np.round(255 * tile).astype("uint8") if wanted["dtype"] == "uint8" else 255 * tile
                yield rounded, (row, column)

    def segmented(self, item):
        """A path or pixels -> the fraction of each class, and the mask as a PNG of class numbers."""
        picture = picture_of(item, self.manifest["input"]["shape"][-1])
        mask, edge = np.zeros(picture.shape[:2], "uint8"), self.manifest["tiles"]["edge"]
        for tile, (row, column) in self.tiles(picture):
            [probabilities] = self.run({self.manifest["input"]["name"]: tile[np.newaxis]}).values()
            height, width = probabilities.shape[1:3]
            part = self.classes_of(probabilities[0, edge : height - edge, edge : width - edge])
            place = mask[row : row + part.shape[0], column : column + part.shape[1]]
            place[:] = part[: place.shape[0], : place.shape[1]]
        buffer = io.BytesIO()
        needed("PIL.Image", "pillow").fromarray(mask).save(buffer, "PNG")
        fractions = [float(np.mean(mask == number)) for number in range(len(self.labels))]
        rows = [{"label": label, "fraction": fraction} for label, fraction in zip(self.labels, fractions, strict=True)]
        return {"classes": rows, "mask": buffer.getvalue()}

    def classes_of(self, probabilities):
        """(..., classes) -> class numbers; with a threshold, the boundary from this probability on."""
        boundary = self.manifest["boundary"]
        if boundary is None:
            return probabilities.argmax(axis=-1)
        others = probabilities - 2 * (np.arange(probabilities.shape[-1]) == boundary)
        is_boundary = probabilities[..., boundary] >= self.settings["threshold"]
        return np.where(is_boundary, boundary, others.argmax(axis=-1))


def detected(boxes, scores, labels, settings, size):
    """Boxes (N, 4) in fractions, ymin, xmin, ymax, xmax, and scores (N, classes) -> the objects, best first.

    Of two boxes of a class that overlap, the one with the lower score is left out. `size` is that of the picture.
    """
    boxes, objects = np.clip(boxes, 0, 1), []
    for number, label in enumerate(labels):
        left = np.flatnonzero(scores[:, number] > settings["threshold"])
        left = left[np.argsort(-scores[left, number], kind="stable")]
        while len(left):
            best, left = left[0], left[1:]
            objects.append((float(scores[best, number]), label, boxes[best]))
            left = left[intersection_over_union(boxes[best], boxes[left]) <= settings["overlap"]]
    objects = sorted(objects, key=lambda each: -each[0])[: settings["most"]]
    scale = np.array([*size, *size], "float32")
    rows = [(label, score, (box * scale)[[1, 0, 3, 2]].tolist()) for score, label, box in objects]
    return {"objects": [{"label": label, "score": score, "box": box} for label, score, box in rows]}


def intersection_over_union(box, others):
    """(4,) and (N, 4) -> (N,)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=-1)
    return shared / np.maximum(areas - shared, 1e-12)


def transduced(logits, length):
    """(S, bits) -> the vectors after the input and its end mark: their bits, and the probability of all bits."""
    logits = logits[length + 1 :].astype("float64")
    scores = np.exp(-np.log1p(np.exp(-np.abs(logits))).sum(axis=-1))
    bits = (logits > 0).astype(int).tolist()
    return {"vectors": [{"bits": row, "score": float(score)} for row, score in zip(bits, scores, strict=True)]}


def transcribed(probabilities, manifest, seconds):
    """(T, V), of which class 0 is the blank -> the transcript of the likeliest path, its log probability, its words.

    Words have their start and end in seconds, which are at most the length of the sound.
    """
    best, front_end = probabilities.argmax(axis=1), manifest["front_end"]
    begin = 0 if front_end["edges"] == "centre" else front_end["frame_length"] / 2
    words, before, is_inside = [], 0, False
    for step, label in enumerate(best):
        is_space = label != 0 and manifest["alphabet"][label - 1] == " "
        edges = (
            max((place * manifest["frames_per_step"] - 0.5) * front_end["frame_step"] + begin, 0) / front_end["rate"]
            for place in (step, step + 1)
        )
        start, end = (min(edge, seconds) for edge in edges)
        if label != 0 and label == before and is_inside:
            words[-1]["end"] = end
        elif label != 0 and label != before and not is_space:
            if not is_inside:
                words.append({"word": "", "start": start, "end": end})
            words[-1] |= {"word": words[-1]["word"] + manifest["alphabet"][label - 1], "end": end}
        is_inside = (is_inside and label == 0) or (label != 0 and not is_space)
        before = label
    score = float(np.log(np.maximum(probabilities.max(axis=1), 1e-30)).sum())
    return {"transcript": " ".join(word["word"] for word in words), "score": score, "words": words}


def needed(module, package):
    """A module that this runner needs; raises ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{package} can't be imported ({error}): pip install {package}") from None


def onnx_session(path):
    """{name: array} -> {name: array}, by ONNX Runtime."""
    onnxruntime = needed("onnxruntime", "onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def litert_session(path):
    """{name: array} -> {name: array}, by LiteRT."""
    interpreter = needed("ai_edge_litert.interpreter", "ai-edge-litert").Interpreter(str(path))
    run = interpreter.get_signature_runner("serving_default")

    def call(inputs):
        rows = [run(**{name: value[row : row + 1] for name, value in inputs.items()}) for row in range(_count(inputs))]
        return {name: joined([row[name] for row in rows]) for name in rows[0]}

    return call


def joined(rows) -> np.ndarray:
    """Arrays (1, ...) -> (B, ...), with zeros after those that are shorter than the longest."""
    longest = np.max([row.shape for row in rows], axis=0)
    return np.concatenate([np.pad(row, [(0, missing) for missing in longest - row.shape]) for row in rows])


def _count(inputs) -> int:
    return len(next(iter(inputs.values())))


def loaded(path) -> np.ndarray:
    """The array of a .npy file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        array = None
    if not isinstance(array, np.ndarray):  # also for an archive of arrays
        raise ValueError("not a .npy file of numbers, as numpy.save writes it")
    return array


def tensor(item, settings, wanted):
    """A .npy file or an array -> float32 of the model's shape."""
    array = loaded(item) if isinstance(item, (str, Path)) else np.asarray(item)
    shape = wanted["shape"]
    is_good = array.ndim == len(shape) and all(
        own >= 1 if size is None else own == size for own, size in zip(array.shape, shape, strict=True)
    )
    if array.dtype.kind not in "biuf" or not is_good:
        sizes = str(tuple(shape)).replace("None", "any")
        raise ValueError(f"expected an array of numbers of shape {sizes}, got {array.dtype} of shape {array.shape}")
    array = array.astype("float32")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite as float32, got NaN or infinity")
    if "longest" in settings:  # a sequence of bits
        if len(array) > settings["longest"]:
            raise ValueError(f"{len(array)} vectors are more than the limit of {settings['longest']}")
        bits = array[:, : array.shape[1] - max(settings["reals"], int(settings["repeats"]))]
        if not np.isin(bits, (0, 1)).all():
            raise ValueError("the bits of a vector must be 0 or 1")
    return array


def image(item, settings, wanted):
    """An image file or pixels (H, W, 3) -> the framed picture (h, w, C), 0 to 255, as keras-zoo frames it."""
    height, width, channels = wanted["shape"]
    picture = picture_of(item, channels)
    if wanted.get("is_stretched"):
        picture = resized(picture, (height, width))
        if settings["polarity"]:
            picture = ink(picture, settings["polarity"])
    elif settings["centre"] == "ink":
        if max(picture.shape[:2]) > WORKING_SIDE:
            picture = resized(picture, reduced_size(*picture.shape[:2]))
        picture = centred(ink(picture, settings["polarity"]), (height, width), settings["fraction"])
    else:
        crop = crop_size(*picture.shape[:2], (height, width), settings["fraction"])
        top, left = ((of - side) // 2 for of, side in zip(picture.shape, crop, strict=False))
        picture = resized(picture[top : top + crop[0], left : left + crop[1]], (height, width))
        if settings["polarity"]:
            picture = ink(picture, settings["polarity"])
    pixels = 255 * np.clip(picture, 0, 1)
    return np.round(pixels).astype("uint8") if wanted["dtype"] == "uint8" else pixels.astype("float32")


def picture_of(item, channels):
    """An image file or pixels (H, W, 3) -> (H, W, channels) in [0, 1]."""
    pixels = decoded(item) if isinstance(item, (str, Path)) else np.asarray(item, "uint8")
    if channels == 1:
        return (pixels.astype("float32") @ np.array([0.299, 0.587, 0.114], "float32"))[..., np.newaxis] / 255
    return pixels.astype("float32") / 255


def divided(dividend, divisor):
    """Integers, rounded to the nearest; a half is rounded to the even one."""
    nearest, rest = np.divmod(2 * dividend + divisor, 2 * divisor)
    return nearest - np.where(rest == 0, nearest % 2, 0)


def reduced_size(height, width):
    """Height and width of a picture whose longer side becomes WORKING_SIDE."""
    longer = np.maximum(height, width)
    return tuple(np.maximum(divided(side * WORKING_SIDE, longer), 1) for side in (height, width))


def crop_size(height, width, size, fraction):
    """Height and width of the middle of a picture, a fraction of the largest part in the shape of `size`.

    In integers, because floats round a half up or down by the order of the operations.
    """
    ratio = Fraction(fraction).limit_denominator(1_000_000)
    unit = np.minimum(height * size[1], width * size[0]) * ratio.numerator
    crop_height, crop_width = (divided(unit, side * ratio.denominator) for side in (size[1], size[0]))
    return np.clip(crop_height, 1, height), np.clip(crop_width, 1, width)


def sound(item, settings, wanted):
    """A sound file, or samples (T,) at the model's rate -> features (N, D), as keras-zoo computes them.

    The manifest has the settings of the front end, its window (L,), mel filters (F, M) and cosine transform
    (M, cepstra).
    """
    end = wanted["front_end"]
    waveform = heard(item, end["rate"], settings["longest"]) * np.float32(end["scale"])
    if end["pre_emphasis"] and end["pre_emphasis_in"] == "signal":
        waveform = waveform - np.float32(end["pre_emphasis"]) * np.append(np.float32(0), waveform[:-1])
    frames = framed(waveform, end)
    if end["remove_dc"]:
        frames = frames - frames.mean(axis=-1, keepdims=True)
    energy = np.sum(frames * frames, axis=-1)
    if end["pre_emphasis"] and end["pre_emphasis_in"] == "frame":
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=-1)
        frames = frames - np.float32(end["pre_emphasis"]) * before
    spectrum = np.abs(np.fft.rfft(frames * np.array(end["window_values"], "float32"), end["fft_size"]))
    values = logarithm(spectrum.astype("float32") ** end["power"] @ np.array(end["filter_values"], "float32"), end)
    if end["decibel_range"] is not None:
        values = np.maximum(values, values.max() - end["decibel_range"])
    if end["cepstra"]:
        values = values @ np.array(end["dct_values"], "float32")
        if end["log_energy"]:
            values[:, 0] = logarithm(energy, end)
    for _ in range(end["deltas"]):
        width = end["cepstra"] or end["filters"]
        values = np.concatenate([values, slopes(values[:, -width:], end["delta_width"])], axis=1)
    return normalized(values, end).astype("float32")


def heard(item, rate, longest):
    """A sound file, a .npy file of samples or samples (T,) at `rate` -> (T,) float32, the mean of the channels."""
    own = rate
    if isinstance(item, (str, Path)):
        with open(item, "rb") as file:
            is_array = file.read(6) == b"\x93NUMPY"
        item, own = (np.load(item, allow_pickle=False), rate) if is_array else file_samples(item, longest)
    samples = np.asarray(item)
    if samples.ndim != 1 or not samples.size or samples.dtype.kind not in "iuf":
        raise ValueError(f"expected samples of shape (T,), got {samples.dtype} of shape {samples.shape}")
    waveform = samples.astype("float32")
    if samples.dtype.kind in "iu":
        if samples.dtype.name not in MIDDLES:
            raise ValueError(f"samples of {samples.dtype}: give int16, int32, uint8, or floats in [-1, 1]")
        waveform = (waveform - MIDDLES[samples.dtype.name]) / 2 ** (8 * samples.itemsize - 1)
    if not np.abs(waveform).max() <= LOUDEST:
        raise ValueError("samples must be finite and in [-1, 1]")
    if own != rate:
        waveform = needed("soxr", "soxr").resample(waveform, own, rate)
    if waveform.size > longest * rate:
        raise ValueError(f"{waveform.size / rate:,.0f} s are more than the limit of {longest:g} s")
    return waveform


def file_samples(path, longest):
    """The samples (T,) float32 of a sound file, the mean of its channels, and their rate."""
    soundfile = needed("soundfile", "soundfile")
    check_size(path)
    try:
        with soundfile.SoundFile(path) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise ValueError(f"{file.samplerate:,} samples per second: expected {RATES[0]:,} to {RATES[1]:,}")
            if file.frames > longest * file.samplerate:
                raise ValueError(f"{file.frames / file.samplerate:,.0f} s are more than the limit of {longest:g} s")
            return file.read(dtype="float32", always_2d=True).mean(axis=1), file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"not a sound file, or damaged: {error.error_string.removeprefix('Error : ')}") from None


def check_size(path):
    """Raises ValueError if a WAV or AIFF file ends before its samples do by its header."""
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        order, place = ORDERS.get(file.read(12)[:4]), 12
        for _ in range(1000 if order else 0):
            file.seek(place)
            name, length = file.read(4), int.from_bytes(file.read(4), order)
            place += 8
            if name in (b"data", b"SSND") and size - place < length < STREAMED:
                raise ValueError(f"truncated: its header states {length:,} bytes of samples, {size - place:,} follow")
            if name in (b"data", b"SSND", b""):
                return
            place += length + length % 2


def framed(waveform, end):
    """(T,) -> (N, L), overlapping frames; zeros stand before and after the samples."""
    length, step = end["frame_length"], end["frame_step"]
    if end["edges"] == "centre":
        count, before = 1 + len(waveform) // step, (length + 1) // 2
    else:
        count, before = (1 if end["edges"] == "snip" else 2) + (len(waveform) - length) // step, 0
    count = max(count, 1)
    waveform = np.concatenate([np.zeros(before, "float32"), waveform, np.zeros(length + step, "float32")])
    return np.stack([waveform[number * step : number * step + length] for number in range(count)])


def logarithm(values, end):
    values = np.log(np.maximum(values + np.float32(end["log_offset"]), np.float32(end["log_floor"])))
    return values * (10 / np.log(10)) if end["logarithm"] == "decibel" else values


def slopes(values, width):
    """Linear regression over 2 width + 1 frames: (N, D) -> (N, D)."""
    padded = np.concatenate([values[:1]] * width + [values] + [values[-1:]] * width)
    count = len(values)
    total = sum(n * (padded[width + n :][:count] - padded[width - n :][:count]) for n in range(1, width + 1))
    return total / (2 * sum(n * n for n in range(1, width + 1)))


def normalized(values, end):
    """(N, D) -> (N, D), by the item's own mean and deviation, or by those of the training data."""
    if end["normalize"] is None:
        return values
    if end["normalize"] == "utterance":
        # A constant feature becomes exactly 0, although NumPy may round equal frames differently.
        rounding = 1e-6 * np.abs(values).max()
        values = values - values[0]
        values = np.where(np.abs(values).max(axis=0) > rounding, values, 0.0)
        values = values - values.mean(axis=0)
        return values / np.maximum(values.std(axis=0), 1e-4)
    values = (values - np.array(end["mean"])) / np.array(end["deviation"])
    if end["normalize"] == "fixed":
        return values
    keep, mean, square = np.exp(-1 / end["time_constant"]), 0.0, 1.0
    rows = []
    for value in values:
        mean, square = keep * mean + (1 - keep) * value, keep * square + (1 - keep) * value**2
        rows.append((value - mean) / np.sqrt(np.maximum(square - mean**2, 1e-4)))
    return np.stack(rows)


PREPARATIONS = {"image": image, "tensor": tensor, "audio": sound}  # by the kind of the raw input


def decoded(path) -> np.ndarray:
    """Pixels (H, W, 3) uint8, upright; transparent pixels become white, or black if the drawing is light."""
    Image = needed("PIL.Image", "pillow")
    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # the limit below has a message of its own
    formats = [name for name in Image.OPEN if name != "EPS"]  # an EPS file is a program that Ghostscript would run
    with Image.open(path, formats=formats) as file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"{file.width} x {file.height} pixels are more than the limit of {MAX_PIXELS:,}")
        file.load()
        picture = upright(file)
        if picture.mode.startswith(("I", "F")):
            values = np.asarray(picture, "float64")
            highest = 65535 if values.max() > 255 else 255 if values.max() > 1 else 1
            picture = Image.fromarray(np.clip(values / highest * 255, 0, 255).round().astype("uint8"))
        if "A" not in picture.mode and "a" not in picture.mode and "transparency" not in picture.info:
            return np.asarray(picture.convert("RGB"))
        values = np.asarray(picture.convert("RGBA"), "float32")
    alpha, colour = values[..., 3:] / 255, values[..., :3]
    drawn = (colour * alpha).sum() / max(3 * alpha.sum(), 1e-6)
    return np.round(colour * alpha + (255 if drawn < 128 else 0) * (1 - alpha)).astype("uint8")


def upright(picture):
    """Undoes the camera's turn by the EXIF block of a file; Pillow turns a TIFF itself."""
    Image = needed("PIL.Image", "pillow")

    exif, turns = Image.Exif(), Image.Transpose
    try:
        exif.load(picture.info.get("exif") or b"")
        orientation = exif.get(0x0112)
    except Exception:  # a damaged block raises all kinds of exceptions
        return picture
    undone = (turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM)  # 2 to 8
    undone += (turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90)
    return picture.transpose(undone[orientation - 2]) if orientation in range(2, 9) else picture


def resized(picture, size):
    """(H, W, C) -> (*size, C), linear with anti-aliasing, as tf.image.resize does it."""
    scales = [new / old for new, old in zip(size, picture.shape, strict=False)]
    return resampled(picture, size, scales, (0.0, 0.0), lambda x: np.maximum(1 - x, 0))


def cubic(x):
    """Keys 1981, a = -0.5."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def resampled(picture, size, scales, moves, kernel):
    """Scales and moves a picture (H, W, C), with anti-aliasing and zeros around it: TensorFlow's ScaleAndTranslate."""
    matrices = []
    for length, wanted, scale, move in zip(picture.shape, size, scales, moves, strict=False):
        places = (np.arange(wanted) + 0.5 - move) / scale  # (wanted,), of the new pixels in the old picture
        distances = np.abs(np.arange(length) + 0.5 - places[:, np.newaxis]) / max(1 / scale, 1.0)
        weights = kernel(distances)
        weights /= np.where(weights.sum(axis=1) == 0, 1, weights.sum(axis=1))[:, np.newaxis]
        matrices.append(weights * ((places >= 0) & (places <= length))[:, np.newaxis])
    return np.einsum("yh,hwc,xw->yxc", matrices[0], picture, matrices[1], optimize=True).astype("float32")


def ink(picture, polarity):
    """Contrast of a drawing with its ground, the median of the border: (H, W, 1) -> (H, W, 1) in [0, 1]."""
    border = np.concatenate([picture[0, :, 0], picture[-1, :, 0], picture[:, 0, 0], picture[:, -1, 0]])
    ground = np.sort(border)[len(border) // 2]
    lighter, darker = picture.max() - ground, ground - picture.min() if polarity else 0.0
    strength = ground - picture if darker > lighter else picture - ground
    return np.clip((strength / max(lighter, darker, 0.04) - 0.2) / 0.8, 0, 1)


def centred(picture, size, fraction):
    """A drawing scaled to a fraction of the frame and centred by its centre of mass: (H, W, 1) -> (*size, 1)."""
    weights = picture[..., 0]
    longer = 0
    for axis in (1, 0):
        places = np.flatnonzero(weights.max(axis=axis) > 0.2)
        longer = max(longer, places[-1] - places[0] + 1 if len(places) else weights.shape[1 - axis])
    scale, mass = min(min(size) * fraction / longer, 8.0), weights.sum()
    middle = [length / 2 for length in weights.shape]
    if mass > 0:
        middle = [(weights.sum(axis=1 - n) @ (np.arange(weights.shape[n]) + 0.5)) / mass for n in (0, 1)]
    moves = [side / 2 - scale * place for side, place in zip(size, middle, strict=True)]
    return resampled(picture, size, (scale, scale), moves, cubic)


def one_line(error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main() -> int:
    parser = argparse.ArgumentParser(description="Answers with the exported model in this folder.")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="an image file, or a .npy file if the model takes tensors"
    )
    parser.add_argument("--top", type=int, help="number of labels in an answer")
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="the folder for masks")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may hold bytes that are not text
    try:
        model, rows = Model(Path(__file__).parent, arguments.top), []
    except Exception as error:  # a package or a file of the export is missing or damaged
        print(f"run.py: {one_line(error)}", file=sys.stderr)
        return 2
    for item in arguments.inputs:
        try:
            rows.append({"input": item, **model(item)})
        except Exception as error:  # Pillow's decoders raise many types for damaged files
            rows.append({"input": item, "error": one_line(error)})
        if arguments.out and "mask" in rows[-1]:
            arguments.out.mkdir(parents=True, exist_ok=True)
            path = arguments.out / f"{Path(item).stem}.png"
            path.write_bytes(rows[-1]["mask"])
            rows[-1]["mask"] = str(path)
        if not arguments.json:
            row = rows[-1]
            pairs = zip(row.get("labels", ()), row.get("scores", ()), strict=True)
            vectors = " ".join("".join(map(str, vector["bits"])) for vector in row.get("vectors", ()))
            objects = "; ".join(
                f"{each['label']} {each['score']:.3f} at {' '.join(f'{value:.0f}' for value in each['box'])}"
                for each in row.get("objects", ())
            )
            classes = ", ".join(f"{own['label']} {own['fraction']:.1%}" for own in row.get("classes", ()))
            pairs = ", ".join(f"{label} {score:.3f}" for label, score in pairs)
            numbers = " ".join(f"{value:.4f}" for value in row.get("embedding", ()))
            shown = row.get("transcript") or vectors or objects or classes or numbers or pairs
            print(f"{item}: {row.get('error') or shown}")
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1, default=lambda value: base64.b64encode(value).decode()))
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
