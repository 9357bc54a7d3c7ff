"""The page of `zoo app`: the fields and answers of every task, and, in a browser, the samples of every tab."""

import json
import shutil
import threading
import urllib.request

import gradio
import pytest
from click.testing import CliRunner
from gradio_client import Client, handle_file
from hypothesis import given
from hypothesis import strategies as st

import zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.drawings import draw_digit
from tests.helpers.models import make
from tests.helpers.processes import free_port
from zoo import app, preset, tasks
from zoo.cli import main
from zoo.errors import ZooError
from zoo.registry import entries

# A tiny model of every task.
MODELS = {entry.task: name for name, entry in entries().items() if entry.task in CONTRACTS}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """task -> the folder of a tiny preset, and a good and a bad input of it."""
    presets = {}
    for task, name in MODELS.items():
        folder = tmp_path_factory.mktemp(task)
        model, contract = make(name), CONTRACTS[task]
        good, bad, _ = contract.files(model, folder)
        zoo.save(model, folder / "preset")
        presets[task] = (str(folder / "preset"), contract.item(good), contract.item(bad))
    return presets


def values(task: str, item) -> tuple:
    """The values of the fields for an item; a browser sends no bytes that are not text."""
    names = [*tasks.task_class(task).raw_kinds]
    item = item.decode(errors="replace") if isinstance(item, bytes) else item
    if len(names) == 1:
        return (str(item),)
    item = json.loads(item) if isinstance(item, str) else item
    return tuple(item[name] for name in names)


@pytest.mark.parametrize("task", sorted(MODELS))
def test_answers_are_those_of_the_pipeline(task, saved):
    folder, *items = saved[task]
    names, pipeline = [*tasks.task_class(task).raw_kinds], zoo.pipeline(folder)
    for item in items:
        given_values = values(task, item)
        shown, row, picture = app.answer(names, folder, *given_values)
        one = given_values[0] if len(names) == 1 else dict(zip(names, given_values, strict=True))
        expected = pipeline(one, errors="return")
        if "error" in expected:
            assert (shown, row) == (f"**Not answered:** {app.escaped(expected['error'])}", None)
        else:
            assert {*expected} - {*row} == {*pipeline.task.files(expected)}
            assert all(row[key] == expected[key] for key in {*row} - {"input"})
            assert shown.endswith(" ms")
        assert picture is None


def test_the_page_has_a_tab_per_task(saved):
    blocks = app.page([folder for folder, _, _ in saved.values()])
    tabs = [block.id for block in blocks.blocks.values() if isinstance(block, gradio.Tab)]
    assert tabs == sorted(MODELS)


def test_an_empty_field_is_named(saved):
    folder, _, _ = saved["question_answering"]
    shown, _, _ = app.answer(["story", "question"], folder, "Mary went home.", "")
    assert shown == "**Not answered:** give story and question"


@given(st.text())
def test_text_is_shown_as_it_is(text):
    """CommonMark: a backslash before a sign of punctuation takes its meaning away."""
    shown, place = app.escaped(text), 0
    for letter in text:
        place += shown[place] == "\\"
        assert shown[place] == letter
        place += 1
    assert place == len(shown)


def test_without_presets():
    with pytest.raises(ZooError, match="^no presets to show: give at least one$"):
        app.page([])


def test_an_unknown_preset_is_one_line():
    done = CliRunner().invoke(main, ["app", "mlp.mnits"])
    assert (done.exit_code, done.stderr) == (
        2,
        "zoo: unknown preset 'mlp.mnits'; did you mean mlp.mnist or lenet5.mnist?\n",
    )


def test_the_server(saved, monkeypatch):
    """It listens on this machine only, answers visitors side by side, and lets the browser ask no other host."""
    folder, _, _ = saved["tensor_classification"]
    together = threading.Barrier(2, timeout=20)

    def waiting(name):
        raise ZooError(f"number {together.wait()}")

    monkeypatch.setattr(app, "open_pipeline", waiting)
    port = free_port()
    blocks = app.run([folder], "127.0.0.1", port, wait=False)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}") as page:
            assert page.headers["content-security-policy"].startswith("default-src 'self'")
        with pytest.raises(ZooError, match=f"^can't listen at 127.0.0.1:{port}: "):
            app.run([folder], "127.0.0.1", port, wait=False)
        clients = [Client(f"http://127.0.0.1:{port}", verbose=False) for _ in range(2)]
        file = handle_file(saved["tensor_classification"][1])
        jobs = [client.submit(folder, file, api_name="/answer_tensor_classification") for client in clients]
        assert {job.result(timeout=30)[0][-1] for job in jobs} == {"0", "1"}
    finally:
        blocks.close()


def open_tab(page, name: str) -> None:
    """Clicks a tab; those that do not fit into a row are in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.count() and tab.first.is_visible():
        tab.first.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()


@pytest.mark.slow  # every bundled preset in a browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser Chromium")
def test_every_tab_answers_its_sample_in_a_browser(tmp_path):
    from playwright.sync_api import sync_playwright

    by_task = {preset.open_preset(name).record["task"]["name"]: name for name in preset.bundled()}
    (tmp_path / "bad.png").write_bytes(b"\x89PNG no more")
    draw_digit("7").save(tmp_path / "7.png")
    blocks = app.run([*by_task.values()], "127.0.0.1", free_port(), wait=False)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 2400, "height": 1000})
            page.set_default_timeout(60_000)
            asked, problems = [], []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
            page.goto(blocks.local_url)
            page.get_by_role("tab").first.wait_for()
            for task in sorted(by_task):
                open_tab(page, task.replace("_", " ").capitalize())
                panel = page.locator("[role=tabpanel]:visible")
                panel.locator(".gallery-item, tbody tr").first.click()
                panel.get_by_text(" ms").wait_for()
            open_tab(page, "Image classification")
            panel = page.locator("[role=tabpanel]:visible")
            panel.locator("input[type=file]").set_input_files(tmp_path / "bad.png")
            panel.get_by_role("button", name="Answer", exact=True).click()
            panel.get_by_text("Not answered: ").wait_for()
            browser.close()
    finally:
        blocks.close()
    assert not problems
    assert all(url.startswith((blocks.local_url, "data:", "blob:")) for url in asked)
