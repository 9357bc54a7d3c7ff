"""Explanations of a model's answers: pictures, and the values that they show.

The `explanations` of a task map each kind to the name of a module; the first kind is the default. A model may have
kinds of its own before those of its task (see `register_model`). A module defines:

    ITEMS                    greatest number of inputs in one picture; 0 if the kind takes no inputs
    SAMPLES                  optional: False if the kind does without inputs, rather than with the preset's samples
    explain(task, items, errors, **options) -> rows
                             one dict per item; {"input", "error"} for a bad item if errors="return". Options are
                             keyword arguments. Keys that start with "_" are for `draw`; users do not get them.
    draw(rows, path)         draws rows into a file; `rows` has no bad items, and "_name" is the name of the model
    line(row) -> str         formats a row as a line to print; an empty line is not printed
    remark(rows, name) -> str | None       optional: a line printed after all rows
    ARRAYS                   optional: keys whose values are arrays or None; they are never printed

`zoo.explaining.rows` has functions that most kinds need.
"""

import importlib
import inspect
import os
import warnings
from pathlib import Path
from types import ModuleType

from zoo.tasks import task_class, task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np

from zoo import preset as presets
from zoo import registry
from zoo.errors import ZooError, checked_picture
from zoo.preset import Preset
from zoo.tasks.task import Task


def explain(
    name: str | os.PathLike | keras.Model,
    inputs,
    out: str | os.PathLike,
    kind: str | None = None,
    errors: str = "raise",
    settings: dict | None = None,
    **options,
) -> list[dict]:
    """Draws one picture that explains a model's answers.

    Image classifiers have three kinds. "heat" shows each input as the model sees it, with a Grad-CAM overlay (Selvaraju
    et al. 2017, arXiv 1610.02391). Beside it, "heat" shows the magnitude of the gradient of the class's logit with
    respect to the pixels (Simonyan et al. 2014, arXiv 1312.6034), averaged over noisy copies (Smilkov et al. 2017,
    arXiv 1706.03825). If no layer of the model has a spatial output, there is no Grad-CAM, and the picture says so.
    "filters" shows the weights of the first layer. "layers" shows the outputs of the layers for one input, most of them
    feature maps (LeCun, Bengio & Hinton 2015, Figure 2). If a model averages several windows of an image, only the
    middle window is explained; label and score are those of this window. Models that look at parts of an image one by
    one have the kind "glimpses" too, as their default: the parts in their order.

    Models that compare faces have the kind "likeness": two faces, and where covering a part of one of them changes
    their distance (Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2).

    Models that segment pictures have the kind "outlines": the edges of the classes over the picture. Detectors have the
    kind "boxes": the objects, with their labels and probabilities, drawn on the image.

    Text classifiers have the kind "words": the weight of each word in the answer, by attention (Yang et al. 2016) or by
    the gradient.

    Memory networks have the kind "hops": the weights of the lines of a story at each hop (Sukhbaatar et al. 2015,
    Figure 2).

    Sound classifiers have the kind "heat": the features of a sound over time, with Grad-CAM over them.

    Language models have two kinds. "surprise" shows how unlikely each token of a text is, in bits. "reach" shows how
    far back in a text a model looks: the gradient of its predictions by distance in tokens.

    Machines with a memory have the kind "memory": what they write and read at every step, and where (Graves, Wayne &
    Danihelka 2014, arXiv 1410.5401, Figure 6).

    Word vectors have the kind "map": the inputs, which may be left out, and frequent words, as places in the plane.

    Translators have the kind "attention": the attention weights of each word of a translation over the source words
    (Bahdanau et al. 2015, arXiv 1409.0473, Figure 3). Captioners with attention have the kind "attention" too: the
    picture once per word, with the attention over it (Xu et al. 2015, arXiv 1502.03044, Figure 2).

    Speech recognisers have the kind "posteriors": the features of a sound, the probability of each symbol at each step,
    and the words under them (Graves et al. 2006, Figure 1).

    Args:
        name: a preset's name or path, or a model from load or create_model.
        inputs: an input that the task takes, or several as a pipeline takes them; None takes the preset's samples.
        out: the picture to write, a .png, .pdf or .svg file.
        kind: a kind of explanation of the model or its task; the first kind by default.
        errors: "raise", or "return" for {"input", "error"} in the place of an input that can't be answered; the
            other inputs are drawn.
        settings: settings of the task, such as {"beam": 1}.
        **options: options of the kind. "heat" takes `label` and `layer`. `label` is the class to explain, by default
            the best answer. `layer` is the layer whose output Grad-CAM reads; a layer of a nested model is named
            "inner/layer". The default is the last convolution with a spatial output, including the normalisation, sum
            and activation after it. Locally connected layers are never the default.

    Returns:
        A dict per input. "heat": {"input", "label", "score", "layer", "heat", "gradient"}; "heat" (h, w) has
        the maximum 1, and is 0 where there is no evidence for the class; "gradient" (h, w) is >= 0; "layer" and "heat"
        are None if no layer has a spatial output. In the place of "gradient" that of a sound has "features" (N, M),
        frames and mel filters. "layers": {"input", "label", "score", "layers"}, with the outputs by name. "likeness":
        {"input", "other", "distance", "same", "heat"}; "heat" (h, w) is positive where a part of the face speaks for
        the same person. "filters": a single dict {"layer", "filters"}, (h, w, C, count). "outlines": {"input",
        "classes", "mask"}, with the class numbers (H, W). "glimpses": {"input", "label", "score", "locations",
        "widths"}; "locations" are pairs of the row and the column of each centre in pixels of the model's input,
        "widths" those of the patches. "attention": {"input", "translation", "score",
        "alternatives", "source", "target", "attention"}; "source" and "target" are lists of words, and "attention" has
        the shape (target words, source words). "surprise": {"input", "tokens", "bits", "perplexity"}. "reach":
        {"input", "gradient"}, by distance from 0, relative to the value there. "words": {"input", "label", "score",
        "words", "weights"}, and with attention "sentences". "boxes": {"input", "objects"}, the answer. "hops":
        {"input", "label", "score", "lines", "weights"}; "weights" are lists (hops, lines). "memory": {"input",
        "vectors", "write_weights", "read_weights", "adds", "reads"}, (steps, heads, places or numbers of a place).
        "posteriors": {"input", "transcript", "score", "words", "symbols", "posteriors", "step_times"}; "posteriors" has
        the shape (steps, symbols), where the first symbol is the blank.

    Raises:
        InputError: an input can't be answered; the message names it.
        ZooError: the model's task has no explanations; an unknown kind, option, label or layer; or a path that can't
            be written.
    """
    if errors not in ("raise", "return"):
        raise ZooError(f"errors must be 'raise' or 'return', got {errors!r}")
    out = checked_picture(out, "out")
    settings = settings or {}
    name, preset, task = _opened(name, settings)
    kind, module = _module(task, preset, name, kind)
    options = {key: value for key, value in options.items() if value is not None}
    _check_options(kind, module, options)
    if isinstance(task, type):
        task = task_of(presets.load_model(preset), **settings)
    items = (
        []
        if inputs is None and not getattr(module, "SAMPLES", True)
        else _items(task, name, preset, inputs, kind, module.ITEMS)
    )
    with warnings.catch_warnings():
        # Keras warns of the attention to a text of one word or line, which is 1.
        warnings.filterwarnings("ignore", "You are using a softmax over axis")
        rows = module.explain(task, items, errors, **options)
    drawn = [{**row, "_name": name} for row in rows if "error" not in row]
    if drawn:
        _write(out, module, drawn)
    return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


def module_of(name: str | os.PathLike | keras.Model, kind: str | None = None) -> ModuleType:
    """The module of a kind of explanation, or of the default kind of the model.

    Raises:
        ZooError: an unknown model or kind.
    """
    name, preset, task = _opened(name, {})
    return _module(task, preset, name, kind)[1]


def printable(row: dict, arrays: tuple[str, ...] = ()) -> dict:
    """A row for printing: without NumPy arrays, and with the list of keys in the place of a dict of arrays.

    Args:
        row: as `explain` returns it.
        arrays: ARRAYS of the module: keys that are left out even if their values are None.
    """
    printed = {}
    for key, value in row.items():
        if key in arrays or isinstance(value, np.ndarray):
            continue
        is_arrays = isinstance(value, dict) and any(isinstance(inner, np.ndarray) for inner in value.values())
        printed[key] = list(value) if is_arrays else value
    return printed


def _opened(name, settings: dict) -> tuple[str, Preset | None, Task | type[Task]]:
    """The model's name, its preset and its task; the task of a preset is a class, not yet bound to a model.

    Mistakes in the arguments are therefore reported before the weights of a preset are loaded.
    """
    if isinstance(name, keras.Model):
        return name.name, getattr(getattr(name, "origin", None), "parent", None), task_of(name, **settings)
    preset = presets.open_preset(name)
    return preset.name, preset, task_class(preset.record["task"]["name"])


def _own(task: Task | type[Task], preset: Preset | None) -> dict[str, str]:
    """The kinds of explanation that the model has beside those of its task."""
    model = preset.record["model"]["name"] if isinstance(task, type) else task.model.origin.model
    entry = registry.entries().get(model)
    return entry.explanations if entry else {}


def _module(task: Task | type[Task], preset: Preset | None, name: str, kind: str | None) -> tuple[str, ModuleType]:
    """The kind, by default the first kind of the model or else of the task, and its module."""
    kinds = {**_own(task, preset), **task.explanations}
    if not kinds:
        raise ZooError(f"{name} can't be explained: its task, {task.name}, has no explanations")
    kind = next(iter(kinds)) if kind is None else kind
    if kind not in kinds:
        raise ZooError(f"kind must be {_joined(kinds, 'or')} for {name} ({task.name}), got {kind!r}")
    try:
        return kind, importlib.import_module(kinds[kind])
    except ImportError as error:
        raise ZooError(f"kind={kind!r} of {task.name}: {kinds[kind]} can't be imported: {error}") from error


def _check_options(kind: str, module: ModuleType, options: dict) -> None:
    parameters = list(inspect.signature(module.explain).parameters.values())[3:]  # after task, items, errors
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    if refused := [option for option in options if option not in known]:
        taken = _joined(known, "and") if known else "no options"
        raise ZooError(f"kind={kind!r} takes {taken}, got {', '.join(refused)}")


def _joined(words, conjunction: str) -> str:
    *others, last = words
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _items(task: Task, name: str, preset: Preset | None, inputs, kind: str, most: int) -> list:
    """The inputs as a list; without inputs, as many of the preset's samples as one picture takes."""
    if inputs is None:
        if most == 0:
            return []
        samples = preset.record.get("samples", [])[:most] if preset else []
        if not samples:
            raise ZooError(f"{name} has no samples: give an input to explain")
        return [task.sample(preset.file(sample["input"])) for sample in samples]
    items = list(task.items(inputs)) if task.is_batch(inputs) else [inputs]
    if not items and most:
        raise ZooError("no inputs to explain: give at least one, or None for the preset's samples")
    if len(items) > most:
        limit = f"at most {most} inputs" if most > 1 else "1 input" if most else "no inputs"
        raise ZooError(f"kind={kind!r} takes {limit}, got {len(items)}")
    return items


def _write(out: Path, module: ModuleType, rows: list[dict]) -> None:
    """Draws into a hidden file, then renames it, so that a failure leaves no partial picture."""
    hidden = out.with_name(f".{os.getpid()}.{out.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file name may have characters that the font lacks
            module.draw(rows, hidden)
        hidden.replace(out)
    except (OSError, ValueError) as error:
        raise ZooError(f"can't write the picture {out}: {error.args[-1]}") from None
    finally:
        hidden.unlink(missing_ok=True)
