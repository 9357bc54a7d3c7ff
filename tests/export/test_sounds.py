"""Exports of models that hear: the runner's front end in NumPy, and sounds of unequal lengths for a server."""

import dataclasses

import numpy as np
import pytest
import soundfile as sf

import zoo
from tests.helpers.contracts import chirp
from tests.helpers.models import make
from tests.helpers.paths import SOUNDS
from tests.helpers.run_alone import run_alone
from zoo.data import sound
from zoo.errors import InputError
from zoo.exporting import Client, runner
from zoo.exporting.dev_server import Server
from zoo.preprocessing.audio import FrontEnd
from zoo.preprocessing.front_end import CONVENTIONS, LIBROSA, FrontEndSettings, front_end_settings

FRONT_ENDS = {
    **CONVENTIONS,
    "differences": FrontEndSettings(normalize="utterance", deltas=2),
    "running": front_end_settings({"convention": "kaldi", "normalize": "running"}, [30.0] * 13, [2.0] * 13),
    "fixed": dataclasses.replace(
        LIBROSA, cepstra=0, power=1, deltas=1, normalize="fixed", mean=[-40.0] * 256, deviation=[2.0] * 256
    ),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_runner_computes_the_features(name):
    """A sound of several frames, and one shorter than a frame."""
    front_end = FrontEnd(FRONT_ENDS[name])
    for size in (100, 9_000):
        waveform = np.random.default_rng(size).normal(0, 0.1, size).astype("float32")
        (frames,), _ = front_end(waveform[np.newaxis], [size])
        own = runner.sound(waveform, {"longest": 1.0}, {"front_end": front_end.exported()})
        np.testing.assert_allclose(own, frames, rtol=1e-4, atol=1e-3)


def test_the_runner_reads_every_form_of_a_sound(tmp_path):
    tone = chirp(500, 0.1).astype("float32")
    sf.write(tmp_path / "tone.wav", np.stack([tone, -tone / 3, tone], axis=1), 16_000, "FLOAT")
    np.testing.assert_allclose(runner.heard(tmp_path / "tone.wav", 16_000, 1.0), tone * (5 / 9), atol=1e-6)
    assert runner.heard(tmp_path / "tone.wav", 8_000, 1.0).shape == (800,)
    for values, atol in (((tone * 32_768).astype("int16"), 1e-4), ((tone * 128 + 128).astype("uint8"), 0.01)):
        np.save(tmp_path / "tone.npy", values)
        np.testing.assert_allclose(runner.heard(tmp_path / "tone.npy", 16_000, 1.0), tone, atol=atol)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([0.0, np.nan], r"^samples must be finite and in \[-1, 1\]$"),
        (np.zeros(0), r"^expected samples of shape \(T,\), got float64 of shape \(0,\)$"),
        (np.zeros((2, 2)), r"^expected samples of shape \(T,\)"),
        (np.zeros(9, "int64"), r"^samples of int64: give int16, int32, uint8, or floats in \[-1, 1\]$"),
        (np.zeros(16_001, "int16"), "^1 s are more than the limit of 1 s$"),
        (SOUNDS / "README.md", "^not a sound file, or damaged: Format not recognised.$"),
        (SOUNDS / "six_16khz.wav", "^1 s are more than the limit of 0.5 s$"),
    ],
    ids=["nan", "empty", "stereo", "int64", "long", "text", "long file"],
)
def test_the_runner_refuses(item, message):
    with pytest.raises(ValueError, match=message):
        runner.heard(item, 16_000, 0.5 if isinstance(item, type(SOUNDS)) else 1.0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (40, 16_000, "^truncated: its header states 16,000 bytes of samples, 2,000 follow$"),
        (24, 0, "^not a sound file, or damaged: Internal error : SF_INFO struct incomplete.$"),
        (24, 7, "^7 samples per second: expected 1,000 to 1,000,000$"),
        (24, 2**31 - 1, "^2,147,483,647 samples per second: expected"),
        (40, 2**32 - 1, None),
    ],
    ids=["truncated", "no rate", "slow", "fast", "stream"],
)
def test_the_runner_looks_at_the_header(place, value, message, tmp_path):
    """It refuses what the pipeline refuses, in one line, and answers the header of a stream."""
    sf.write(tmp_path / "a.wav", chirp(500, 1_000 / 16_000), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[place : place + 4] = value.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    if message is None:
        assert (
            len(runner.heard(tmp_path / "a.wav", 16_000, 1.0)) == len(sound.read(tmp_path / "a.wav", 16_000)) == 1_000
        )
        return
    with pytest.raises(ValueError, match=message):
        runner.heard(tmp_path / "a.wav", 16_000, 1.0)
    with pytest.raises(InputError):
        sound.read(tmp_path / "a.wav", 16_000)


def test_the_times_of_the_runner_end_with_the_sound():
    """A frame of 25 ms of a sound of 10 ms."""
    front_end = dataclasses.asdict(FrontEndSettings())
    manifest = {"front_end": front_end, "alphabet": "ab", "frames_per_step": 1}
    probabilities = np.eye(3)[[1, 2]]
    for seconds, ends in ((0.01, [0.0075, 0.01]), (0.02, [0.0075, 0.02]), (1.0, [0.0075, 0.0275])):
        [word] = runner.transcribed(probabilities, manifest, seconds)["words"]
        assert word == {"word": "ab", "start": pytest.approx(ends[0]), "end": pytest.approx(ends[1])}


def test_a_server_takes_sounds_of_unequal_lengths(tmp_path):
    """One batch over REST and over gRPC: each item has the pipeline's answer, the bad one its error."""
    model = make("conv_acoustic")
    zoo.export(model, tmp_path, name="sounds", longest=1.0)
    items = [chirp(500, 0.21), SOUNDS / "README.md", SOUNDS / "six_16khz.wav", [0.5]]
    pipeline = zoo.pipeline(model, longest=1.0)
    expected = pipeline(items, errors="return")
    server = Server(tmp_path, 0, 0)
    server.start()
    try:
        for address in (f"grpc://localhost:{server.port}", f"http://localhost:{server.rest_port}"):
            client = Client("sounds", address)
            assert client.manifest()["inputs"] == [
                {"name": "waveform", "kind": "audio", "shape": [None], "length": "samples", "rate": 16_000,
                 "longest": 1.0}
            ]  # fmt: skip
            rows = client.predict(items, errors="return")
            assert rows[1] == expected[1]
            for row, other in zip(rows, expected, strict=True):
                assert row["input"] == other["input"]
                if "error" not in other:
                    assert dict(zip(row["labels"], row["scores"], strict=True)) == pytest.approx(
                        dict(zip(other["labels"], other["scores"], strict=True)), abs=1e-5
                    )
            assert client.predict(np.zeros(20_000, "float32"), errors="return")["error"] == (
                "1.25 s of sound are more than the limit of 1 s"
            )
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_the_runner_answers_as_the_pipeline_without_zoo(format, tmp_path):
    model = make("conv_acoustic")
    version = zoo.export(model, tmp_path, format=format, name="sounds", top=10)
    sf.write(tmp_path / "long.flac", chirp(700, 0.9), 44_100)
    files = [SOUNDS / "six_16khz.wav", SOUNDS / "README.md", tmp_path / "long.flac"]
    status, rows = run_alone(version, *files)
    assert status == 1
    assert ["error" in row for row in rows] == [False, True, False]
    for file, row in ((files[0], rows[0]), (files[2], rows[2])):
        answer = zoo.pipeline(model, top=10)(file)
        assert row["labels"][0] == answer["labels"][0]
        assert dict(zip(row["labels"], row["scores"], strict=True)) == pytest.approx(
            dict(zip(answer["labels"], answer["scores"], strict=True)), abs=1e-3
        )
