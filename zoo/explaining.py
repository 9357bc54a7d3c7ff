"""Why a model answers as it does: Grad-CAM and input gradients, first-layer filters, feature maps; attention."""

import os
import warnings
from pathlib import Path

from zoo.tasks import task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np
import tensorflow as tf

from zoo import attending, plotting
from zoo import preset as presets
from zoo.errors import InputError, ZooError, checked_picture, unknown
from zoo.inference import shown
from zoo.layers import activations
from zoo.preprocessing import image_files
from zoo.tasks.task import CrossEntropy, Task

TASK = "image_classification"
KINDS = ("heat", "filters", "layers", "attention")
ROWS = 12  # inputs in one picture
STAGES = 8  # layers in one picture
NOISE = 0.15  # the noise's standard deviation in parts of the range from black to white (Smilkov et al.: 0.1 to 0.2),
DRAWS = 16  # and how often it is drawn: they draw 50 times, but what is left of the noise after 16 is hardly seen


def explain(
    name: str | os.PathLike | keras.Model,
    inputs,
    out: str | os.PathLike,
    kind: str | None = None,
    label: str | None = None,
    layer: str | None = None,
    errors: str = "raise",
) -> list[dict]:
    """Draws one picture of how an image classifier, or a translator, comes to its answers.

    kind="heat": each input as the model sees it, and over it Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) and
    the size of the gradient of the class's logit by the pixels (Simonyan et al. 2014, arXiv 1312.6034), averaged over
    noisy copies (Smilkov et al. 2017, arXiv 1706.03825). A model whose layers have no extent has no Grad-CAM; the
    picture says so. kind="filters": the weights of the first layer. kind="layers": what the layers make of one input,
    feature maps for the most part (LeCun, Bengio & Hinton 2015, Figure 2). Of a model that answers from several windows
    of a picture the middle one is explained, and the label and score are its. kind="attention": what each word of a
    translation looked at in its source (Bahdanau et al. 2015, arXiv 1409.0473, Figure 3).

    Args:
        name: a preset's name or path, or a model from load or create_model.
        inputs: a path, bytes, an array, a PIL image, a sentence, or a list of them; None for the preset's own samples.
        out: the picture to write, a .png, .pdf or .svg.
        kind: "heat" (of an image classifier what is drawn unless told otherwise), "filters" or "layers"; "attention"
            (of a translator).
        label: the class explained, for kind "heat"; the best answer where it is left out.
        layer: where Grad-CAM looks, for kind "heat"; a layer of a nested model is named "inner/layer". Left out, it
            is the last convolution that has an extent, with the normalisation, sum and activation after it; layers
            whose filters differ from place to place do not count.
        errors: "raise", or "return" for {"input", "error"} in the place of an input that can't be answered; the
            others are drawn.

    Returns:
        A dict for each input, as "heat" {"input", "label", "score", "layer", "heat", "gradient"}: "heat" (h, w) has 1
        where it is greatest, and 0 where nothing speaks for the class; "gradient" (h, w) is not negative; "layer" and
        "heat" are None where no layer has an extent. As "layers" {"input", "label", "score", "layers"}, with outputs
        by name. As "filters" the one dict {"layer", "filters"}, (h, w, C, count). As "attention" {"input",
        "translation", "score", "source", "target", "attention"}: words, and weights (target words, source words).

    Raises:
        InputError: an input can't be answered; the message names it.
        ZooError: neither an image classifier nor a translator, an unknown kind, label or layer, or a path that can't
            be written.
    """
    if errors not in ("raise", "return"):
        raise ZooError(f"errors={errors!r} is none of 'raise', 'return'")
    kind = kind or ("attention" if _task_name(name) == "translation" else "heat")
    if kind not in KINDS:
        raise unknown("kind of picture", kind, KINDS)
    if kind != "heat" and (label is not None or layer is not None):
        raise ZooError(f"label and layer choose what kind='heat' shows; kind={kind!r} has no use for them")
    out = checked_picture(out, "out")
    called, model, items = _opened(name, inputs, kind)
    if kind == "attention":
        rows = attending.attention_of(model, items, errors)
        if drawn := [row for row in rows if "error" not in row]:
            _write(out, plotting.attention, drawn)
        return rows
    task = task_of(model)
    task.check_head()
    if label is not None and label not in task.names():
        raise unknown(f"label of {model.name}", label, task.names())
    if kind == "filters":
        found, filters = _first_filters(model)
        rows = [{"layer": found, "filters": filters}]
        _write(out, plotting.filters, filters, f"{called}  {found}")
        return rows
    failed: dict[int, dict] = {}
    pictures, numbers = [], []
    for number, item in enumerate(items):
        try:
            pictures.append(_picture(task, item))
            numbers.append(number)
        except InputError as error:
            if errors == "raise":
                raise
            failed[number] = {"input": shown(item), "error": str(error)}
    if not pictures:
        return list(failed.values())
    if kind == "layers":
        rows = [_layers(task, pictures[0])]
    else:
        rows = [_heat(task, picture, label, layer) for picture in pictures]
    rows = [{"input": shown(items[number]), **row} for number, row in zip(numbers, rows, strict=True)]
    displayed = [_displayed(task, picture) for picture in pictures]
    titles = [f"{_short(row['input'])}\n{row['label']}  {row['score']:.1%}" for row in rows]
    if kind == "layers":
        _write(out, plotting.feature_maps, displayed[0], rows[0]["layers"], titles[0])
    else:
        _write(out, plotting.heat, displayed, rows, titles)
    told = failed | dict(zip(numbers, rows, strict=True))
    return [told[number] for number in range(len(items))]


def _task_name(name) -> str:
    if isinstance(name, keras.Model):
        return getattr(getattr(name, "origin", None), "task", TASK)
    return presets.open_preset(name).record["task"]["name"]


def _opened(name, inputs, kind: str) -> tuple[str, keras.Model, list]:
    """What the model is called, the model, and the list of what it is shown."""
    if isinstance(name, keras.Model):
        origin = getattr(name, "origin", None)
        called, task = name.name, getattr(origin, "task", TASK)  # task_of tells who has lost the origin
        preset = getattr(origin, "parent", None)
    else:
        preset = presets.open_preset(name)
        called, task = preset.name, preset.record["task"]["name"]
    wanted = "translation" if kind == "attention" else TASK
    if task != wanted:
        raise ZooError(f"{called} is made for {task}; kind={kind!r} explains models for {wanted}")
    model = name if isinstance(name, keras.Model) else presets.load_model(preset)
    if kind != "attention" and not activations.is_functional(model):
        raise ZooError(f"{called} is no functional Keras model, so the outputs of its layers can't be told")
    if inputs is None or (isinstance(inputs, (list, tuple)) and not inputs):
        samples = preset.record.get("samples", []) if preset else []
        items = [task_of(model).sample(preset.file(row["input"])) for row in samples]
        if not items and kind != "filters":
            raise ZooError(f"{called} has no samples: give an input to explain")
        items = items[: {"layers": 1, "attention": attending.SENTENCES}.get(kind, ROWS)]
    else:
        items = list(inputs) if task_of(model).is_batch(inputs) else [inputs]
        most = {"heat": ROWS, "filters": 0, "layers": 1, "attention": attending.SENTENCES}[kind]
        if len(items) > most:
            raise ZooError(f"a picture of kind={kind!r} shows {most or 'no'} inputs, not {len(items)}: leave some out")
    return called, model, items


def _picture(task: Task, item) -> tf.Tensor:
    """One input as the model takes it, (h, w, C); the errors are the pipeline's."""
    try:
        encoded = tf.constant(task.encode(item))
        error = image_files.header_error(encoded).numpy().decode()
        if error:
            raise InputError(error)
        return task.preprocess({"pixels": image_files.read(encoded)})["image"]
    except tf.errors.InvalidArgumentError:
        text = image_files.damaged(encoded).numpy().decode()
    except InputError as error:
        text = str(error)
    raise InputError(text if shown(item) in text else f"{shown(item)}: {text}")


def _displayed(task: Task, picture: tf.Tensor) -> np.ndarray:
    """Preprocessing's last step backwards: (h, w, C) in [0, 1]."""
    low, high = task.settings["low"], task.settings["high"]
    return np.clip((picture.numpy() - low) / (high - low), 0.0, 1.0)


def _looked_at(seen: list[activations.Seen], layer: str | None, model: str) -> activations.Seen | None:
    """The layer of Grad-CAM: the one named, or the last convolution with what follows it in its shape."""
    if layer is None:
        stages = [stage for stage in activations.stages(seen) if stage[0].has_kernel and stage[0].has_extent]
        fitting = [stage for stage in stages if not stage[0].is_local]
        return fitting[-1][-1] if fitting else None
    by_name = {one.name: one for one in seen}
    if layer not in by_name:
        raise unknown(f"layer of {model}", layer, by_name)
    if not by_name[layer].has_extent:
        size = " x ".join(map(str, by_name[layer].output.shape[1:]))
        raise ZooError(f"layer {layer} of {model} has no extent for Grad-CAM: its output is {size}")
    return by_name[layer]


def _score(task: Task, logits: tf.Tensor, number: int) -> tf.Tensor:
    """What is explained, (B,): the class's logit.

    LeNet-5 of 1998 gives minus a distance, which has no slope left where the answer is certain; there it is the
    difference from the mean of all classes, by which its softmax shares go.
    """
    is_softmax = isinstance(task.loss(), CrossEntropy)
    return logits[:, number] if is_softmax else logits[:, number] - tf.reduce_mean(logits, axis=-1)


def _heat(task: Task, picture: tf.Tensor, label: str | None, layer: str | None) -> dict:
    """Grad-CAM (equations 1 and 2) and the gradient of one picture (h, w, C)."""
    image = picture[tf.newaxis]
    with tf.GradientTape() as tape:
        tape.watch(image)
        outputs, seen = activations.watch(task.model, {"image": image})
        row, number = _answer(task, outputs, label)
        score = _score(task, outputs["logits"], number)
    looked_at = _looked_at(seen, layer, task.model.name)
    row |= {"layer": None, "heat": None}
    if looked_at is not None:
        maps = np.array(looked_at.output[0], "float32")  # A (H, W, C)
        slopes = tape.gradient(score, looked_at.output, unconnected_gradients="zero")
        slopes = np.array(slopes[0], "float32")
        heat = np.maximum(maps @ slopes.mean(axis=(0, 1)), 0.0)  # relu(sum_k alpha_k A^k)
        heat = _enlarged(heat, task.size, looked_at.stride)
        row |= {"layer": looked_at.name, "heat": heat / (heat.max() or 1.0)}
    return {**row, "gradient": _gradient(task, image, number)}


def _answer(task: Task, outputs: dict, label: str | None = None) -> tuple[dict, int]:
    """{"label", "score"} of the class named, else of the best answer; and the class's number."""
    shares = tf.nn.softmax(tf.cast(outputs["logits"][0], tf.float32)).numpy()
    number = int(shares.argmax()) if label is None else task.names().index(label)
    return {"label": task.names()[number], "score": float(shares[number])}, number


def _enlarged(small: np.ndarray, size: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """A map (H, W) laid over the picture (h, w), linear between its points, which lie where their units look.

    The points are `stride` pixels apart, all together in the middle of the picture: there convolutions have them, if
    they pad both sides alike or not at all. To stretch a map of the latter over the whole picture would move the heat
    outwards. Beyond half a stride from the outer points it fades.
    """
    for axis in (0, 1):
        last = small.shape[0] - 1
        places = (np.arange(size[axis]) - (size[axis] - 1) / 2) / stride[axis] + last / 2  # (h,), in units of the map
        fade = np.clip(1.5 - np.maximum(-places, places - last), 0.0, 1.0)
        small = np.stack([fade * np.interp(places, np.arange(last + 1), column) for column in small.T])  # transposed
    return small


def _gradient(task: Task, image: tf.Tensor, number: int) -> np.ndarray:
    """The size of the score's gradient by the pixels, the greatest of the channels, mean over noisy copies: (h, w)."""
    deviation = NOISE * abs(task.settings["high"] - task.settings["low"])
    noise = tf.random.stateless_normal((DRAWS, *image.shape[1:]), seed=(0, 0), stddev=deviation)
    total = 0.0
    for part in tf.split(noise, DRAWS // 8):
        noisy = image + part  # (8, h, w, C)
        with tf.GradientTape() as tape:
            tape.watch(noisy)
            scores = _score(task, task.model({"image": noisy}, training=False)["logits"], number)
        total += np.abs(tape.gradient(scores, noisy)).max(axis=-1).sum(axis=0)
    return total / DRAWS


def _layers(task: Task, picture: tf.Tensor) -> dict:
    """What the stages of the model make of one picture, a handful of them from the first to the last."""
    outputs, seen = activations.watch(task.model, {"image": picture[tf.newaxis]})
    # Without what only flattens or averages.
    stages = [
        stage for stage in activations.stages(seen) if stage[0].has_extent or any(one.has_weights for one in stage)
    ]
    places = np.unique(np.linspace(0, len(stages) - 1, STAGES).round().astype(int))
    shown_ones = [stages[place][-1] for place in places]
    return {**_answer(task, outputs)[0], "layers": {one.name: np.array(one.output[0], "float32") for one in shown_ones}}


def _first_filters(model: keras.Model) -> tuple[str, np.ndarray]:
    """The name of the first layer with filters on the picture, and those, (h, w, C, count).

    A dense layer's weights on the flattened picture are filters of the picture's size.
    """
    shape = tuple(model.input["image"].shape[1:])
    for name, layer in activations.leaves(model):
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4 and kernel.shape[2] == shape[2]:
            return name, np.array(kernel, "float32")
        if kernel is not None and len(kernel.shape) == 2 and kernel.shape[0] == np.prod(shape):
            return name, np.array(kernel, "float32").reshape(*shape, -1)
    raise ZooError(f"{model.name} has no layer with filters on the picture")


def _short(text: str) -> str:
    """The last part of a path, cut to a panel's width."""
    text = Path(text).name
    return text if len(text) <= 36 else f"{text[:18]}...{text[-15:]}"


def _write(out: Path, draw, *arguments) -> None:
    """Draws beside and moves in, so that no half-written picture stays."""
    hidden = out.with_name(f".{os.getpid()}.{out.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file's name in letters that the font lacks
            draw(*arguments, hidden)
        hidden.replace(out)
    except (OSError, ValueError) as error:
        raise ZooError(f"can't write the picture {out}: {error.args[-1]}") from None
    finally:
        hidden.unlink(missing_ok=True)
