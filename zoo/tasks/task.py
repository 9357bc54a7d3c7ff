"""The base class of every task: from raw input to a model's tensors, and from its outputs to answers.

A task inherits from an input kind (zoo/tasks/inputs/) and an output kind (zoo/tasks/outputs/), both subclasses of
`Task`: `class Translation(TextInput, Generation)`. The lists below name the methods and attributes that each kind
defines. From these `Task` builds the served signatures, the code path for a single item, and the masking of bad items.

Input kind
    raw_kinds, raw_inputs    the arguments of the served signature
    read             example of a data set -> raw tensors
    raw_batch        a batch of examples -> the arguments of the served signature
    prepare          raw tensors -> prepared: all computation without random numbers
    augment_inputs   prepared, seed -> prepared, in training only
    finish           a batch of prepared items, or a single item -> model inputs
    windows          like finish, but for answers; may return several windows per item
    checked          a batch of raw inputs, in the graph -> the result of `windows`, and `error`
    checked_single   the same for a single item, if there is a faster way
    layout           how a user's own files become a data set
    neutral_input, sample, preview    an input for warm-up, a sample file as an input, a sample as text

Output kind
    targets          example -> y
    draw_targets     y, seed -> y, in training only, also without augmentation: one of several alternatives
    augment_targets  y, seed -> y, in training only
    join             model inputs, y -> inputs, y, and weights if items or tokens have different weights (padding)
    loss, metrics, criterion    the arguments of compile, and the metric that chooses between models
    measure          a split of a data set -> the metrics of `zoo evaluate`
    measured_settings    settings that training chooses on the validation data, such as a threshold
    run              a model and the result of `windows` -> outputs
    answer           outputs -> answers, in the graph
    answer_layout    how outputs become the Python value of an answer
    lines, csv_columns, csv_values, summary       how an answer is printed
    compared, comparison     two answers -> how they compare, and this as text
    pictures         pictures that training writes for TensorBoard

Either kind: adapt, check_source, check_examples, check_exportable, remarks, explanations, resources, op_libraries.

`preprocess` is `finish(prepare(raw))`. Data sets, pipelines and SavedModels use the same functions.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import keras
import tensorflow as tf

from zoo.data.sources import Layout
from zoo.errors import ZooError
from zoo.tasks import answers, measures, raw, signatures
from zoo.tasks.measures import Criterion, Measured
from zoo.tasks.settings import TaskSettings

__all__ = ["Criterion", "Measured", "Task"]


class Task:
    """A task bound to a model.

    Args:
        model: the keras.Model; sizes are read from its inputs and outputs.
        settings: the settings that differ from the defaults of `Settings`.
        labels: names of the classes, or None if they have no names.
        assets: name -> content of the files that the task needs, such as a vocabulary.

    Raises:
        ZooError: a setting is unknown or out of its range, or the model does not fit the task.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[TaskSettings]]
    fields: ClassVar[tuple]  # fields of a data set that the task reads (see `open_source`)
    layout: ClassVar[Layout | None] = None
    criterion: ClassVar[Criterion] = Criterion("loss", "min")
    answer_layout: ClassVar[answers.Layout]
    # Kind of explanation -> module with `explain`, `draw` and `line` (see zoo/explaining/); the first is the default.
    explanations: ClassVar[dict[str, str]] = {}
    formats: ClassVar[dict[str, Callable]] = {}  # the task's own formats of an export -> function of task and folder
    raw_kinds: ClassVar[dict[str, str]]  # argument of the served signature -> its kind (see zoo/tasks/raw/)
    input_name: ClassVar[str | None] = None  # the task's name for the input of a model that takes a tensor
    carried: ClassVar[dict[str, str]] = {}  # output -> input: state that a batch passes to the next batch
    embeds: ClassVar[bool] = False  # whether the answers are the `embeddings` of the whole model
    writes: ClassVar[str | None] = None  # what answers are if they are not read from a single output, such as "texts"
    resets: ClassVar[str | None] = None  # with `carried`: input (B,), true if a row's state is reset
    # Field of prepared, or "y" -> its padding value, if not zero. If y is a dict, the value may be a dict of its keys.
    padding: ClassVar[dict[str, Any]] = {}

    length: Callable | None = None  # (prepared, y) -> () its length; batches then hold items of about the same length
    group: Callable | None = None  # (prepared, y) -> () number; `group_size` items of a number lie side by side
    group_size: int = 1
    longest: int | None = None  # greatest size of an axis of unknown size

    keep_bytes: int | None = None  # most bytes of prepared examples that a stream keeps in memory, if not its default

    # (model, inputs, y, learning rate ()) -> loss (), gradient norm (). Trains the model on a batch, if the task has a
    # faster way than gradients and an optimizer; recipes choose it with optimizer.name = "task".
    update: Callable | None = None

    def __init__(self, model: keras.Model, settings: dict, labels: list[str] | None, assets: dict[str, bytes]):
        self.settings = self.Settings.checked(self.name, settings)
        self.model, self.labels, self.assets = model, labels, assets

    # Training data.

    @classmethod
    def adapt(cls, source, settings: dict, assets: dict[str, bytes]) -> tuple[dict, dict[str, bytes], dict]:
        """Adapts to the training data before the first step; returns (settings, assets, model arguments).

        Args:
            source: the training split.
            settings: the settings of the model or preset that is trained, and those of the recipe.
            assets: the assets of the preset; empty for a new model.
        """
        return {}, {}, {}

    def start(self) -> None:
        """Sets the first weights of a new model that are not random, such as word vectors."""

    def check_source(self, source) -> None:
        """Raises ZooError if a data set does not fit the model, such as a data set of other classes."""

    def check_examples(self, source) -> None:
        """Raises ZooError if a data set has an example that the model can't be trained on."""

    def remarks(self, source) -> list[str]:
        """Warnings of a run before its first step, one line each; source is the training split."""
        return []

    def examples(self, source, batch_size: int):
        """A source -> the source to stream. Override it to make other examples, such as windows of a text.

        With carried state, row r of a batch must continue row r of the batch before, and every batch must be full.
        """
        return source

    def aligned(self, source) -> Callable[[dict], dict]:
        """A function that converts the numbers of an example to those of the model, such as its class numbers."""
        return lambda example: example

    # From an example or a raw input to the model's inputs.

    def raw_inputs(self) -> tuple[raw.RawInput, ...]:
        """The arguments of the served signature. Override it for arguments whose items are not scalars."""
        return raw.scalars(**self.raw_kinds)

    def read(self, example: dict) -> dict:
        """An example of a data set -> raw tensors. An unreadable example ends the run with an error that names it."""
        raise NotImplementedError

    def raw_batch(self, examples: dict) -> dict:
        """A batch of examples -> the arguments of the served signature."""
        raise NotImplementedError

    def prepare(self, raw: dict) -> dict:
        """Raw tensors of one item -> prepared: all computation without random numbers."""
        return raw

    def draw_targets(self, y, seed: tf.Tensor):
        """Draws one of the alternative targets of one example in training, with or without augmentation."""
        return y

    def draws_targets(self) -> bool:
        """Whether the task has alternative targets."""
        return type(self).draw_targets is not Task.draw_targets

    def augment(self, prepared: dict, y, seed: tf.Tensor) -> tuple[dict, Any]:
        """Randomly changes one example in training; y is a result of `draw_targets`, and seed is (2,).

        Override it if y depends on the change.
        """
        return self.augment_inputs(prepared, seed), self.augment_targets(y, seed)

    def augment_inputs(self, prepared: dict, seed: tf.Tensor) -> dict:
        return prepared

    def augment_targets(self, y, seed: tf.Tensor):
        return y

    def finish(self, prepared: dict) -> dict:
        """A batch of prepared items, or a single item -> model inputs."""
        return prepared

    def windows(self, prepared: dict) -> dict:
        """Like `finish`, but for answers. An input kind may return several windows per item, which `run` accepts."""
        return self.finish(prepared)

    def model_inputs(self, checked: dict) -> dict:
        """A batch of inputs of the model from the result of `checked`, if that is something else."""
        return checked

    def preprocess(self, raw: dict) -> dict:
        """Raw tensors of one item -> model inputs."""
        return self.finish(self.prepare(raw))

    def checked(self, raw: dict) -> tuple[dict, tf.Tensor]:
        """A batch of raw inputs, by the names of `raw_inputs` -> the result of `windows`, and error (B,).

        The error of a good item is "". A bad item is replaced by a neutral one, so that the other items are answered.
        """
        raise NotImplementedError

    def checked_single(self, encoded: dict) -> Callable[[dict], tuple[dict, tf.Tensor]]:
        """A function of one item's raw tensors -> its result of `windows`, and error ().

        The argument is the encoded item, because the fastest function may depend on it. The function may raise
        InvalidArgumentError in the graph for an item that can't be decoded; `damaged` then returns the error.
        """
        return self._batch_of_one

    def _batch_of_one(self, raw: dict) -> tuple[dict, tf.Tensor]:
        inputs, error = self.checked({name: value[tf.newaxis] for name, value in raw.items()})
        return tf.nest.map_structure(lambda value: value[0], inputs), error[0]

    def damaged(self, raw: dict) -> tf.Tensor:
        """The error () of an item for which the graph of `checked_single` raised InvalidArgumentError."""
        raise NotImplementedError

    # Training.

    def targets(self, example: dict):
        """One example -> y."""
        raise NotImplementedError

    def join(self, inputs: dict, y) -> tuple:
        """A batch of model inputs and y -> (inputs, y), or (inputs, y, weights)."""
        return inputs, y

    def batch(self, prepared: dict, y) -> tuple:
        """A batch of prepared items and y -> (inputs, y), or (inputs, y, weights)."""
        return self.join(self.finish(prepared), y)

    def loss(self, label_smoothing: float = 0.0):
        """A Keras loss, or a dict of them by the name of the model's output."""
        raise NotImplementedError

    def metrics(self) -> list | dict:
        """Keras metrics, or lists of them by the name of the model's output."""
        raise NotImplementedError

    def compile(self, model: keras.Model | None = None) -> None:
        """Compiles the model with the task's defaults."""
        (model or self.model).compile(keras.optimizers.Adam(1e-3), self.loss(), weighted_metrics=self.metrics())

    def measure(self, source, batch_size: int, report: Callable | None) -> Measured:
        """Computes the metrics of a split; calls report(examples done, examples) after each batch.

        The default implementation computes the task's `metrics` from the model's outputs and has no picture.
        """
        return measures.measure(self, source, batch_size, report)

    def measured_settings(self, source, batch_size: int) -> dict:
        """Settings that describe the trained weights (`TaskSettings.measured`), from the validation split."""
        return {}

    def pictures(self, inputs: dict, y, outputs: dict) -> dict[str, Callable]:
        """Pictures for TensorBoard: name -> function that draws a batch and its outputs into a file."""
        return {}

    # From the model's inputs to answers.

    def run(self, model: keras.Model, inputs: dict) -> dict:
        """Runs a model with the inputs of the task's model on a batch of results of `windows`; returns its outputs."""
        return model(inputs, training=False)

    def outputs(self, inputs: dict) -> dict:
        """A batch of results of `windows` -> outputs, as `answer` takes them."""
        return self.run(self.model, inputs)

    def checked_outputs(self, inputs: dict, outputs: dict, error: tf.Tensor) -> tf.Tensor:
        """Adds the errors that are visible only in the outputs to error (B,)."""
        return error

    def answer(self, outputs: dict) -> dict:
        """A batch of outputs -> answers by name, (B, ...)."""
        raise NotImplementedError

    def heads(self) -> dict[str, tuple[keras.Model, Callable]]:
        """Additional signatures on raw input: name -> (model with the same inputs, function outputs -> answers)."""
        return {}

    def signatures(self) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
        """The signatures that map raw input to answers, and "tensors", the model itself.

        Each name maps to (function of named batches, their specs).
        """
        return signatures.of_task(self)

    def single(self) -> Callable[[dict], dict]:
        """A function of the encoded raw inputs of one item -> its answers and `error`, in NumPy."""
        return signatures.single(self)

    def check_complete(self) -> None:
        """Raises ZooError if the model can't answer, such as one without a head or a vocabulary."""

    def check_exportable(self) -> None:
        """Raises ZooError if the model can't be exported with these settings, in any format."""

    def portable(self, is_rounded: bool) -> tuple[Callable, dict, Callable]:
        """The part of the task that runs in ONNX Runtime and LiteRT, without strings and image decoders.

        Args:
            is_rounded: whether images are 8-bit integers.

        Returns:
            A function of named batches, their specs by name, and a function from prepared batches to such batches.
        """
        raise ZooError(f"{self.name} can be exported as saved_model only")

    def portable_manifest(self) -> dict:
        """Entries of the manifest beside an ONNX or LiteRT file that its runner needs, such as labels."""
        return {}

    def resources(self) -> list:
        """Tables and tokenizers of the signatures, which a SavedModel must track beside the model."""
        return []

    def op_libraries(self) -> list[str]:
        """Library files of tensorflow-text that contain the operations of the signatures."""
        return []

    # From Python values to raw inputs, and from outputs to Python values and text.

    def encode(self, item: Any) -> dict[str, Any]:
        """A user's input -> its raw inputs by name; raises InputError."""
        return raw.encode(self.raw_inputs(), item)

    def collate(self, encoded: list[dict]) -> dict[str, tf.Tensor]:
        """Encoded items -> the arguments of the served signature."""
        arrays = raw.batch(self.raw_inputs(), encoded).items()
        return {name: tf.constant(array, tf.string if array.dtype == object else array.dtype) for name, array in arrays}

    def is_batch(self, x: Any) -> bool:
        """Whether the argument of a pipeline is several items rather than one item."""
        return raw.is_batch(self.raw_inputs(), x) or not isinstance(self.parts(x), list)

    def items(self, x: Any) -> Iterable:
        """The items of an argument that `is_batch`: the files of a folder, the lines of an open file, or its values."""
        is_file_of_parts = not isinstance(self.parts(x), list)
        items = [x] if is_file_of_parts else raw.items(self.raw_inputs(), x)
        return (part for item in items for part in self.parts(item))

    @classmethod
    def parts(cls, item: Any) -> Iterable:
        """The items in a user's input, such as the pages of a file, as an iterator; most are one item, as a list."""
        return [item]

    def to_python(self, outputs: dict) -> dict:
        """One item's answers in NumPy -> plain Python values."""
        return answers.to_python(self.answer_layout, outputs)

    @classmethod
    def takes_text(cls) -> bool:
        """Whether an input is a single text; the command line then prints answers without the input in front."""
        return [*cls.raw_kinds.values()] == ["text"]

    @classmethod
    def takes_files(cls) -> bool:
        """Whether an input is a single file; the command line then takes folders too."""
        return len(cls.raw_kinds) == 1 and not cls.takes_text()

    def neutral_input(self) -> Any:
        """A user's input that every model of the task can answer, for a server's warm-up."""
        raise NotImplementedError

    @classmethod
    def sample(cls, path: Path) -> Any:
        """The path of a preset's sample file -> a user's input."""
        return str(path) if cls.takes_files() else path.read_text("utf-8").strip()

    def preview(self, item: Any) -> str:
        """A sample as text for a terminal."""
        return str(item)

    def lines(self, row: dict) -> list[str]:
        """An answer as printed lines."""
        return [self.summary(row) if self.takes_text() else f"{row['input']}: {self.summary(row)}"]

    def csv_columns(self) -> tuple[str, ...]:
        """The column names of answers in CSV. Raises ZooError if an answer does not fit in columns."""
        return ("answer",)

    def csv_values(self, row: dict) -> tuple:
        return (self.summary(row),)

    def summary(self, row: dict) -> str:
        """The best result of an answer in a few words."""
        raise NotImplementedError

    def files(self, row: dict) -> dict[str, tuple[str, bytes]]:
        """The values of an answer that are files, such as pictures: key -> suffix and content."""
        return {}

    def compared(self, first: dict, second: dict) -> dict:
        """How two answers compare, such as {"distance", "same"}; raises ZooError if they can't be compared."""
        raise ZooError(f"answers of {self.name} can't be compared")

    def comparison(self, row: dict) -> str:
        """A result of `compared` in a few words."""
        raise NotImplementedError

    def best(self, answer: dict) -> Any:
        """The part of an answer that must be equal at any precision, such as the first label; None for nothing."""
        return None

    def comparable(self, answer: dict, other: dict) -> Any:
        """The part of an answer that is compared with the answer of a model of lower precision."""
        return answer
