"""Speech: the front end against librosa and Kaldi's, and recognisers against the same networks in PyTorch.

    pip install -e ".[benchmark]" && python benchmarks/speech.py [--rounds 3] [--seconds 8] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds, with their range; a ratio is zoo over each peer. Networks: blstm_ctc at the paper's sizes, three layers of 250
units in each direction, 123 features, 61 symbols; 100 frames per second. The rows:

    front-end   seconds of sound per second of log-mel features, 40 filters, on one core; a sound of 10 s at a time.
                zoo computes those of Kaldi and those of librosa, each with its own settings
    train       frames per second, batch 16, sounds of 1 to 3 s: forward, CTC, backward, clipping and Adam; zoo also in
                bfloat16
    answer-1, answer-16   seconds of sound per second from features to the likeliest labels, by batch size; sounds of 4
                to 10 s. The real-time factor is its inverse
    stream      seconds of sound per second of blstm_ctc_streaming at the paper's size, 421 units, in chunks of 0.2 s of
                samples to the text so far; the peer is its network alone, on features. Latency per chunk, median and
                99th percentile, is printed for zoo

With --torch-python PATH, PyTorch runs in another environment.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

ROWS = {
    "front-end": ("zoo-kaldi", "zoo-librosa", "kaldi", "librosa"),
    "train": ("zoo", "zoo-bfloat16", "torch"),
    "answer-1": ("zoo", "torch"),
    "answer-16": ("zoo", "torch"),
    "stream": ("zoo", "torch"),
}
RATE, FILTERS = 16_000, 40
FEATURES, SYMBOLS, UNITS, DEPTH = 123, 61, 250, 3
STREAM_FEATURES, STREAM_UNITS, CHUNK = 41, 421, 0.2


def rate(call: Callable[[], object], amount: float, seconds: float) -> float:
    """The amount of work per second, if a call does `amount` of it."""
    for _ in range(2):
        call()
    done, started = 0.0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        call()
        done += amount
    return done / (time.perf_counter() - started)


def speech(seconds: float) -> np.ndarray:
    """Noise with the loudness of syllables, (T,)."""
    time_of = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time_of))
    return (noise * np.abs(np.sin(2 * np.pi * 2 * time_of))).clip(-1, 1).astype("float32")


def front_end(side: str, seconds: float) -> float:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    waveform = speech(10.0)
    if side == "librosa":
        import librosa

        sizes = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": FILTERS}

        def call():
            return librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=RATE, **sizes))
    elif side == "kaldi":
        import kaldi_native_fbank

        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither, options.mel_opts.num_bins = 0, FILTERS

        def call():
            computer = kaldi_native_fbank.OnlineFbank(options)
            computer.accept_waveform(RATE, waveform * 32_768)
            computer.input_finished()
            return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])
    else:
        import zoo  # noqa: F401, before TensorFlow

        import tensorflow as tf  # isort: skip

        from zoo.preprocessing.audio import FrontEnd
        from zoo.preprocessing.front_end import front_end_settings

        own = {"librosa": {"rate": RATE, "frame_length": 400, "frame_step": 160, "fft_size": 512, "highest": 8_000.0},
               "kaldi": {"log_energy": False}}  # fmt: skip
        convention = side.removeprefix("zoo-")
        settings = {"convention": convention, "filters": FILTERS, "cepstra": 0, **own[convention]}
        features = FrontEnd(front_end_settings(settings))
        graph = tf.function(lambda waveform: features(waveform[tf.newaxis], [tf.size(waveform)])[0][0])

        def call():
            return graph(waveform).numpy()

    assert call().size in (998 * FILTERS, 1_001 * FILTERS)
    return rate(call, 10.0, seconds)


def batch(size: int, longest: float) -> dict[str, np.ndarray]:
    """Features of sounds of different lengths, the longest in seconds."""
    counts = np.resize([10, 4, 8, 6], size) * longest * 10
    frames = np.random.default_rng(0).normal(size=(size, int(counts.max()), FEATURES))
    return {"frames": frames.astype("float32"), "frame_count": counts.astype("int32")}


def labels(counts: np.ndarray) -> np.ndarray:
    """Ten labels per second, (B, U), filled with 0."""
    random = np.random.default_rng(1).integers(1, SYMBOLS + 1, (len(counts), counts.max() // 10))
    return np.where(np.arange(random.shape[1]) < counts[:, np.newaxis] // 10, random, 0).astype("int32")


def train_zoo(side: str, seconds: float) -> float:
    import zoo

    import keras  # isort: skip
    import tensorflow as tf

    from zoo.tasks.losses import CTC
    from zoo.training.loop import Loop
    from zoo.training.recipe import Training

    keras.config.set_dtype_policy("mixed_bfloat16" if side.endswith("bfloat16") else "float32")
    model = zoo.create_model("blstm_ctc")
    model.compile(keras.optimizers.Adam(1e-3), CTC(), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    inputs = batch(16, 3.0)
    settings = Training(epochs=1, batch_size=16, global_clipnorm=10.0)
    loop = Loop(model, settings, tf.distribute.get_strategy())
    data = tf.data.Dataset.from_tensors((inputs, labels(inputs["frame_count"]), np.ones(16, "float32")))
    step, first = loop._traced(data, None), next(iter(data))
    return rate(lambda: step(first, tf.constant(0.0)).numpy(), float(inputs["frame_count"].sum()), seconds)


def train_torch(side: str, seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.SpeechCtc(FEATURES, SYMBOLS, UNITS, DEPTH)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    inputs = batch(16, 3.0)
    frames, counts = (torch.from_numpy(inputs[name]) for name in ("frames", "frame_count"))
    y = torch.from_numpy(labels(inputs["frame_count"]))

    def step():
        optimizer.zero_grad()
        logits, _ = model(frames, counts)
        chances = torch.log_softmax(logits, dim=-1).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(chances, y, counts, counts // 10)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        return loss.item()

    return rate(step, float(counts.sum()), seconds)


def answer_zoo(size: int, seconds: float) -> float:
    import zoo

    import tensorflow as tf  # isort: skip

    from zoo.decoding import ctc

    model, inputs = zoo.create_model("blstm_ctc"), {key: tf.constant(value) for key, value in batch(size, 10.0).items()}

    @tf.function(reduce_retracing=True)
    def answer(inputs):
        return ctc.greedy(model(inputs, training=False)["logits"], inputs["frame_count"]).tokens

    return rate(lambda: answer(inputs).numpy(), float(inputs["frame_count"].numpy().sum()) / 100, seconds)


def answer_torch(size: int, seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.SpeechCtc(FEATURES, SYMBOLS, UNITS, DEPTH).eval()
    inputs = batch(size, 10.0)
    frames, counts = (torch.from_numpy(inputs[name]) for name in ("frames", "frame_count"))

    def call():
        with torch.inference_mode():
            logits, _ = model(frames, counts)
            best = [torch.unique_consecutive(row[:count]) for row, count in zip(logits.argmax(-1), counts, strict=True)]
            return [row[row != 0].numpy() for row in best]

    return rate(call, float(counts.sum()) / 100, seconds)


def stream_zoo(seconds: float) -> float:
    import zoo
    from zoo.tasks import task_of

    model = zoo.create_model("blstm_ctc_streaming")
    model.origin.assets = {"alphabet.txt": "".join(map(chr, range(200, 200 + SYMBOLS))).encode()}
    hear, chunk = task_of(model).hearing(), speech(CHUNK)
    for _ in range(5):
        hear(chunk)
    times, started = [], time.perf_counter()
    while time.perf_counter() < started + seconds:
        begin = time.perf_counter()
        hear(chunk)
        times.append(time.perf_counter() - begin)
    print("latency", *(1e3 * np.percentile(times, [50, 99])))
    return CHUNK * len(times) / sum(times)


def stream_torch(seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.SpeechCtc(STREAM_FEATURES, SYMBOLS, STREAM_UNITS, DEPTH, two_ways=False).eval()
    frames, state = torch.randn(1, int(CHUNK * 100), STREAM_FEATURES), None

    def call():
        nonlocal state
        with torch.inference_mode():
            logits, state = model(frames, None, state)
            return logits.argmax(-1).numpy()

    return rate(call, CHUNK, seconds)


def work(row: str, side: str, seconds: float) -> float:
    kind, _, size = row.partition("-")
    if kind == "front":
        return front_end(side, seconds)
    if kind == "train":
        return (train_torch if side == "torch" else train_zoo)(side, seconds)
    if kind == "answer":
        return (answer_torch if side == "torch" else answer_zoo)(int(size), seconds)
    return (stream_torch if side == "torch" else stream_zoo)(seconds)


def measure(row: str, rounds: int, seconds: float, torch_python: str) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {side: [] for side in ROWS[row]}
    latencies = []
    for turn in range(rounds):
        for side in ROWS[row][:: 1 if turn % 2 else -1]:
            python = torch_python if side == "torch" else sys.executable
            command = [python, __file__, "--seconds", str(seconds), "--work", row, side]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {side}: {done.stderr[-2000:]}")
            lines = done.stdout.splitlines()
            figures[side].append(json.loads(lines[-1]))
            latencies += [[*map(float, line.split()[1:])] for line in lines if line.startswith("latency ")]
    middle = {side: float(np.median(values)) for side, values in figures.items()}
    unit = "frames/s" if row == "train" else "s of sound/s"
    texts = [f"{side} {middle[side]:,.0f} ({min(values):,.0f}-{max(values):,.0f})" for side, values in figures.items()]
    peers = [side for side in middle if not side.startswith("zoo")]
    own = [side for side in middle if side.startswith("zoo")]
    ratios = [f"{side} over {peer} {middle[side] / middle[peer]:.2f}" for side in own for peer in peers]
    print(f"{row}: {', '.join(texts)} {unit}; {', '.join(ratios)}", flush=True)
    if latencies:
        half, most = np.median(latencies, axis=0)
        print(
            f"{row}: latency of a chunk of {CHUNK} s: median {half:.1f} ms, 99th percentile {most:.1f} ms", flush=True
        )
    return {**figures, **({"latency": latencies} if latencies else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(work(*arguments.work, arguments.seconds)))
        return
    for row in arguments.only or ROWS:
        measure(row, arguments.rounds, arguments.seconds, arguments.torch_python)


if __name__ == "__main__":
    main()
