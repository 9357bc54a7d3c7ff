"""What TensorFlow's libraries print is shown unless it is noise; the spinner, and the cursor after it."""

import contextlib
import logging
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from tests.helpers.paths import ROOT
from zoo import quiet

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795826476.949998    5863 port.cc:153] oneDNN custom operations are on.",
    "I0000 00:00:1795826476.950295    5863 cudart_stub.cc:31] Could not find cuda drivers on your machine.",
]


def test_what_is_not_noise_is_printed_after_the_block(capfd):
    with quiet.held_back() as terminal:
        os.write(2, "\n".join([*NOISE, "W0000 00:00:1.2 3 gpu.cc:4] Cannot dlopen some GPU libraries.\n"]).encode())
        print("at once", file=terminal, flush=True)
    assert capfd.readouterr().err.splitlines() == [
        "at once",
        "W0000 00:00:1.2 3 gpu.cc:4] Cannot dlopen some GPU libraries.",
    ]
    with contextlib.suppress(ImportError), quiet.held_back():
        os.write(2, b"why\n")
        raise ImportError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "why\nafter\n"


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("TensorFlowTrainer.make_predict_function.<locals>.one_step_on_data_distributed", False),
        ("_with_arguments.<locals>.call", False),
        ("Classification.measure.<locals>.<lambda>", False),
        ("train_step", True),
    ],
)
def test_advice_about_retracing_is_for_functions_of_the_user(function, wanted):
    text = "5 out of the last 5 calls to %s triggered tf.function retracing."
    record = logging.LogRecord("tensorflow", logging.WARNING, "", 1, text, (f"<function {function} at 0x7f>",), None)
    assert quiet.is_wanted(record) == wanted
    assert quiet.is_wanted(logging.LogRecord("tensorflow", logging.WARNING, "", 1, function, (), None))
    own = "`FeatureConnector.dtype` is deprecated. Please change your code to use NumPy"
    assert not quiet.is_wanted(logging.LogRecord("absl", logging.WARNING, "", 1, own, (), None))


def test_a_gpu_that_can_not_be_used_is_warned_about():
    def machine(*gpus):
        return SimpleNamespace(config=SimpleNamespace(list_physical_devices=lambda kind: list(gpus)))

    with pytest.warns(UserWarning, match=r"can't use the GPU of this machine: pip install 'keras-zoo\[gpu\]'"):
        quiet.warn_without_gpu(machine())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet.warn_without_gpu(machine("a GPU"))


LOADING = """
import sys
from zoo import tasks, terminal
sys.path.insert(0, sys.argv[1])
terminal.load_tensorflow()
print("loaded")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(
    ("ending", "text"), [("", "loaded"), ("raise KeyboardInterrupt", ""), ("raise ImportError('damaged')", "damaged")]
)
def test_the_spinner_is_seen_and_the_cursor_comes_back(ending, text, tmp_path):
    """With a module in place of TensorFlow, on a terminal."""
    import pty

    (tmp_path / "tensorflow.py").write_text(
        f"import os, time\nos.write(2, b'I0000 00:00:00 noise')\ntime.sleep(0.3)\n{ending}\n"
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", LOADING, str(tmp_path)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux reports the end of the other side as an error
            break
        if not part:
            break
        written += part
    os.close(ours)
    child.wait(timeout=60)
    assert b"loading TensorFlow" in written
    assert b"noise" not in written
    hide, show = b"\x1b[?25l", b"\x1b[?25h"
    assert written.count(hide) == written.count(show) == 1
    assert written.index(hide) < written.index(show)
    assert text.encode() in written
