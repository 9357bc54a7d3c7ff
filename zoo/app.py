"""`zoo app`: a page in the browser where presets answer what a visitor gives them. Needs gradio.

The page has a tab per task. Its fields follow from the raw inputs of the task and its answers from the task's own
lines, so a task of another package has a tab, too. Visitors are answered side by side: TensorFlow's functions may be
called from several threads.
"""

import collections
import functools
import json
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio

from zoo import explaining, tasks
from zoo import preset as presets
from zoo.errors import ZooError
from zoo.inference import Pipeline, pipeline
from zoo.preset import card

LARGEST_FILE = "50mb"
LONGEST_TEXT = 100_000  # characters
AT_ONCE = 8  # visitors that are answered at the same time
OPEN = 12  # presets in memory
# The browser sends no request to another host.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; base-uri 'self'"
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # those of the system


def _unread(field: gradio.components.Component) -> gradio.components.Component:
    """The field gives the file as it was uploaded or recorded, which the pipeline judges. Gradio would decode it."""
    field.preprocess = lambda payload: payload and payload.path
    return field


def _field(name: str, kind: str) -> gradio.components.Component:
    """The field for a raw input."""
    label = name.removesuffix("_bytes").replace("_", " ")
    if kind == "image":
        return _unread(gradio.Image(label=label, sources=["upload", "webcam", "clipboard"], height=320))
    if kind == "audio":
        return _unread(gradio.Audio(label=label, sources=["upload", "microphone"]))
    if kind == "tensor":
        return gradio.File(label=f"{label}, a .npy file", type="filepath", file_types=[".npy"])
    if kind == "number":
        return gradio.Number(label=label)
    return gradio.Textbox(label=label, lines=3, max_length=LONGEST_TEXT)


_opening = threading.Lock()


@functools.lru_cache(OPEN)
def _opened(name: str) -> Pipeline:
    opened = pipeline(name)
    opened(opened.task.neutral_input(), errors="return")  # compiles, so that the first visitor sees the usual time
    return opened


def open_pipeline(name: str) -> Pipeline:
    """The pipeline of a preset; visitors who ask for it at the same time wait for one opening."""
    with _opening:
        return _opened(name)


def page(names: list[str]) -> gradio.Blocks:
    """The page with a tab for each task of the presets.

    Args:
        names: names or paths of presets.

    Raises:
        ZooError: no presets, or an unknown one.
    """
    by_task = collections.defaultdict(list)
    for name in names:
        opened = presets.open_preset(name)
        by_task[opened.record["task"]["name"]].append((str(name), opened))
    if not by_task:
        raise ZooError("no presets to show: give at least one")
    with gradio.Blocks(title="keras-zoo", delete_cache=(3600, 3600)) as blocks:
        gradio.Markdown("# keras-zoo\nChoose a task and a preset, and give an input of your own or click a sample.")
        with gradio.Tabs():
            for task, own in sorted(by_task.items()):
                with gradio.Tab(task.replace("_", " ").capitalize(), id=task):
                    _tab(tasks.task_class(task), dict(own))
    return blocks


def _tab(task: type, opened: dict[str, presets.Preset]) -> None:
    names = [*opened]
    with gradio.Row():
        with gradio.Column():
            choice = gradio.Dropdown(names, value=names[0], label="preset", elem_classes="preset")
            facts = gradio.Markdown(_facts(opened[names[0]]))
            fields = [_field(name, kind) for name, kind in task.raw_kinds.items()]
            button = gradio.Button("Answer", variant="primary", elem_classes="answer-button")
            samples = gradio.Dataset(
                label="samples", components=fields, samples=_samples(task, opened[names[0]]), type="index",
                headers=[*task.raw_kinds], samples_per_page=8,
            )  # fmt: skip
        with gradio.Column():
            text = gradio.Markdown(label="answer", elem_classes="answer", container=True, min_height=80)
            picture = gradio.Image(
                label="explanation", show_label=False, interactive=False, format="png", buttons=["fullscreen"],
                elem_classes="explanation",
            )  # fmt: skip
            with gradio.Accordion("Answer as JSON", open=False):
                values = gradio.JSON(show_label=False)

    def shown(name):
        return _facts(opened[name]), gradio.Dataset(samples=_samples(task, opened[name])), *[None] * len(fields)

    def filled(name, number):
        row = _samples(task, opened[name])[number]
        return row if len(row) > 1 else row[0]

    outputs = [text, values, picture]
    answered = {"fn": functools.partial(answer, [*task.raw_kinds]), "inputs": [choice, *fields], "outputs": outputs}
    explained = {"fn": functools.partial(_explanation, [*task.raw_kinds]), "inputs": [choice, *fields, values]}
    explained |= {"outputs": picture, "concurrency_limit": AT_ONCE, "api_visibility": "private"}
    name = f"answer_{task.name}"
    button.click(**answered, concurrency_limit=AT_ONCE, api_name=name).then(**explained)
    choice.change(shown, choice, [facts, samples, *fields], concurrency_limit=None, api_visibility="private")
    chosen = samples.click(filled, [choice, samples], fields, concurrency_limit=None, api_visibility="private")
    chosen.then(**answered, concurrency_limit=AT_ONCE, api_visibility="private").then(**explained)


def _facts(opened: presets.Preset) -> str:
    record = opened.record
    metrics = ", ".join(f"{metric['name']} {card.figure(metric)}" for metric in card.final(record))
    return escaped("; ".join(filter(None, [record.get("domain"), metrics])))


def _samples(task: type, opened: presets.Preset) -> list[list]:
    """The values of the fields for each sample."""
    rows = []
    for sample in opened.record.get("samples", []):
        item = task.sample(opened.file(sample["input"]))
        rows.append([item] if len(task.raw_kinds) == 1 else [json.loads(item)[name] for name in task.raw_kinds])
    return rows


def _item(names: list[str], values: tuple):
    return values[0] if len(names) == 1 else dict(zip(names, values, strict=True))


def answer(names: list[str], preset: str, *values) -> tuple:
    """Markdown, the answer as JSON, and no picture yet."""
    if any(value is None or value == "" for value in values):
        return _problem(f"give {' and '.join(name.removesuffix('_bytes').replace('_', ' ') for name in names)}")
    try:
        own = open_pipeline(preset)
        started = time.perf_counter()
        row = own(_item(names, values), errors="return")
        milliseconds = 1e3 * (time.perf_counter() - started)
    except ZooError as error:
        return _problem(str(error))
    if "error" in row:
        return _problem(row["error"])
    row = {**row, "input": Path(row["input"]).name if own.task.takes_files() else row["input"]}
    prefix = f"{row['input']}: "  # the command line prints it in front of the answer
    lines = "\n".join(f"- {escaped(line.removeprefix(prefix))}" for line in own.task.lines(row))
    files = own.task.files(row)
    return f"{lines}\n\n{milliseconds:.0f} ms", {key: row[key] for key in row if key not in files}, None


def _explanation(names: list[str], preset: str, *values) -> str | None:
    """The file of a picture of how the model comes to its answer, or None."""
    *values, row = values
    if row is None or not row:
        return None
    own = open_pipeline(preset)
    folder = Path(tempfile.mkdtemp(dir=_folder().name))
    try:
        explaining.explain(own.model, [_item(names, values)], folder / "explanation.png")
    except ZooError:  # not every task has explanations, nor every input
        return None
    return str(folder / "explanation.png")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """A folder for pictures, which is removed at the end of the process."""
    return tempfile.TemporaryDirectory(prefix="zoo-app-")


def _problem(message: str) -> tuple:
    return f"**Not answered:** {escaped(message)}", None, None


def escaped(text: str) -> str:
    """Text without meaning in Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+-.!|$~" else letter for letter in text)


class _Policy:
    """Adds the policy of the browser to every answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def sent(message):
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await self.app(scope, receive, sent)


def run(names: list[str], host: str, port: int, wait: bool = True) -> gradio.Blocks:
    """Serves the page until Ctrl-C.

    Raises:
        ZooError: no or unknown presets, or a port that is taken.
    """
    blocks = page(names)
    blocks.queue(max_size=64, default_concurrency_limit=AT_ONCE)
    files = {str(presets.open_preset(name).path) for name in names}
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=not wait,
            max_file_size=LARGEST_FILE,
            allowed_paths=[*files, _folder().name],
            app_kwargs={"middleware": [(_Policy, (), {})]},
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            theme=gradio.themes.Default(**FONTS),
        )
    except OSError as error:
        raise ZooError(f"can't listen at {host}:{port}: {error}") from None
    return blocks
