"""The latency of exports: SavedModel, ONNX Runtime, LiteRT, model.predict, PyTorch; and a server under load.

    pip install -e ".[benchmark,onnx,litert]" && python benchmarks/serving.py [PRESET]... [--seconds 5] [--rounds 3]

Without PRESET every bundled image classifier is measured. Every side runs in a process of its own. The sides
take turns, round after round; times are the medians of the rounds. The sides:

    signature   the SavedModel's serving_default: encoded files in, labels out
    tensors     its second signature: the model alone, on arrays, without reading, checks and labels
    onnx        the ONNX file by ONNX Runtime, on arrays
    litert      the LiteRT file, on arrays, one after another
    predict     Keras's model.predict, on arrays
    torch       the same network in PyTorch, eager, on arrays; for LeNet-5 and EfficientNet-Lite0

Then the development server answers 1, 8 and 64 clients by gRPC. Each client sends an encoded file per request, and its
next request when it has the answer to the last; every answer is compared. With --torch-python PATH, PyTorch runs in
another environment.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIDES = ("signature", "tensors", "onnx", "litert", "predict", "torch")
TORCH = {"lenet5_modern": ("lenet5", 1, 32), "efficientnet_lite0": ("lite0", 3, 224)}  # function, channels, side
CLIENTS = (1, 8, 64)


def times(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Milliseconds of a call, the median and the 99th percentile."""
    for _ in range(3):
        call()
    milliseconds, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(milliseconds) < 10:
        started = time.perf_counter()
        call()
        milliseconds.append(1e3 * (time.perf_counter() - started))
    return {"p50": float(np.median(milliseconds)), "p99": float(np.quantile(milliseconds, 0.99))}


def samples(name: str) -> list[bytes]:
    from zoo import preset as presets

    preset = presets.open_preset(name)
    return [preset.file(row["input"]).read_bytes() for row in preset.record["samples"]]


def caller(side: str, name: str, out: Path) -> Callable[[int], Callable[[], object]]:
    """Loads a side; returns a function from a batch size to the call that is timed."""
    if side == "torch":
        import torch
        import torch_networks

        function, channels, length = TORCH[name.partition(".")[0]]
        model = getattr(torch_networks, function)().eval()

        def on_torch(size):
            images = torch.rand(size, channels, length, length)

            def call():
                with torch.inference_mode():
                    return model(images).numpy()

            return call

        return on_torch
    if side in ("onnx", "litert"):
        import runpy

        version = out / f"{name}.{side}" / "1"
        model = runpy.run_path(str(version / "run.py"))["Model"](version)
        wanted = model.manifest["input"]
        return lambda size: lambda: model.run({wanted["name"]: np.zeros((size, *wanted["shape"]), wanted["dtype"])})
    if side == "predict":
        import zoo

        model = zoo.load(name)
        shape = model.input.shape[1:]
        return lambda size: lambda: model.predict({"image": np.zeros((size, *shape), "float32")}, verbose=0)
    import tensorflow as tf

    signatures = tf.saved_model.load(str(out / name / "1")).signatures
    if side == "tensors":
        call = signatures["tensors"]
        shape = call.structured_input_signature[1]["image"].shape[1:]
        return lambda size: lambda: call(image=tf.zeros((size, *shape)))["logits"].numpy()
    encoded = (out / "samples").read_bytes()
    files = json.loads(encoded)

    def on_files(size):
        batch = [bytes.fromhex(files[number % len(files)]) for number in range(size)]
        return lambda: signatures["serving_default"](image_bytes=tf.constant(batch))["labels"].numpy()

    return on_files


def work(side: str, name: str, out: Path, seconds: float) -> None:
    """Runs a side of a preset in this process; prints its figures."""
    before = time.perf_counter()
    make = caller(side, name, out)
    make(1)()
    row = {"load": time.perf_counter() - before, **{str(size): times(make(size), seconds) for size in (1, 32)}}
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]  # getrusage includes the parent's
    print(json.dumps({**row, "peak_mb": int(peak) / 1024}))


def serve(out: Path) -> None:
    """A server until its standard input ends; prints its port."""
    from zoo.exporting.dev_server import Server

    server = Server(out, 0, 0)
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()


def load(name: str, files: list[bytes], address: str, clients: int, seconds: float) -> dict:
    """The rate, latencies and lost requests of a number of clients at once, each with its own connection."""
    from zoo.exporting import Client

    expected = [Client(name, address).predict(file)["labels"] for file in files]
    ends, lost, latencies = time.perf_counter() + seconds, [], []

    def ask(first: int) -> None:
        client, number = Client(name, address), first
        while time.perf_counter() < ends:
            started, number = time.perf_counter(), number + 1
            try:
                right = client.predict(files[number % len(files)])["labels"] == expected[number % len(files)]
            except Exception as error:  # everything but an answer is a loss
                lost.append(str(error))
                continue
            latencies.append(1e3 * (time.perf_counter() - started))
            if not right:
                lost.append("the answer to another request")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(latencies) / (time.perf_counter() - started)
    return {
        "rate": rate,
        "p50": np.median(latencies),
        "p99": np.quantile(latencies, 0.99),
        "asked": len(latencies),
        "lost": lost,
    }


def run(arguments: list, python: str = sys.executable) -> dict:
    done = subprocess.run([python, __file__, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, out: Path, rounds: int, seconds: float, torch_python: str) -> None:
    import zoo

    for form in ("saved_model", "onnx", "litert"):
        zoo.export(name, out, form)
    files = samples(name)
    (out / "samples").write_text(json.dumps([file.hex() for file in files]))
    sides = [side for side in SIDES if side != "torch" or name.partition(".")[0] in TORCH]
    results: dict[str, list[dict]] = {side: [] for side in sides}
    for turn in range(rounds):
        for side in sides[:: 1 if turn % 2 else -1]:
            python = torch_python if side == "torch" else sys.executable
            results[side].append(run(["--seconds", seconds, "--work", side, name, out], python))
    middle = {}
    for side, figures in results.items():
        batches = []
        for size in ("1", "32"):
            p50, p99 = (np.median([each[size][key] for each in figures]) for key in ("p50", "p99"))
            middle[side, size] = p50
            batches.append(f"batch {size}: {p50:.2f} ms, p99 {p99:.2f}, {1e3 * int(size) / p50:,.0f} items/s")
        loads, peak = np.median([each["load"] for each in figures]), max(each["peak_mb"] for each in figures)
        print(f"{name}, {side}: {'; '.join(batches)}; loaded in {loads:.2f} s; peak {peak:,.0f} MB", flush=True)
    for size in ("1", "32"):
        ours = middle["signature", size]
        over = ", ".join(f"{side} {ours / middle[side, size]:.2f}" for side in sides[1:])
        cost = (ours - middle["tensors", size]) / int(size)
        print(f"{name}, batch {size}: the signature over {over}; it adds {cost:.2f} ms per item", flush=True)
    with subprocess.Popen(
        [sys.executable, __file__, "--work", "serve", name, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as server:  # fmt: skip
        address = f"grpc://localhost:{int(server.stdout.readline())}"
        for clients in CLIENTS:
            figures = load(name, files, address, clients, 2 * seconds)
            speed = f"{figures['rate']:,.0f} requests/s, {figures['p50']:.1f} ms, p99 {figures['p99']:.1f}"
            print(
                f"{name}, {clients} clients: {speed}; {figures['asked']:,} answered, {len(figures['lost'])} lost",
                flush=True,
            )
            if figures["lost"]:
                sys.exit(figures["lost"][0])
        server.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--work", nargs=3, metavar=("SIDE", "PRESET", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as zoo does, where it is imported first
    if arguments.work:
        side, name, out = arguments.work
        return serve(Path(out)) if side == "serve" else work(side, name, Path(out), arguments.seconds)
    import zoo

    for name in arguments.presets or zoo.list_models(task="image_classification", pretrained=True):
        with tempfile.TemporaryDirectory() as out:
            measure(name, Path(out), arguments.rounds, arguments.seconds, arguments.torch_python)
    return None


if __name__ == "__main__":
    main()
