"""Speech recognition with untrained models, and models whose logits are given."""

import contextlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import zoo
from tests.helpers.commands import run_zoo
from tests.helpers.contracts import CONTRACTS
from tests.helpers.models import make
from tests.helpers.paths import SOUNDS
from zoo.data.sources import open_source
from zoo.errors import InputError, ZooError
from zoo.exporting import verifying
from zoo.tasks import task_of
from zoo.tasks.outputs.transcription import Alphabet

RATE = 16_000
WORDS = ["ab", "b a", "a  b\u00e9", "bb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for number in range(10):
        soundfile.write(folder / f"{number}.wav", random.normal(0, 0.1, 1_600 * (number + 1)).clip(-1, 1), RATE)
    lines = [f"{number}.wav\t{WORDS[number % 4]}\n" for number in range(10)]
    (folder / "transcripts.tsv").write_text("".join(lines), "utf-8")
    return folder


def opened(folder, split="all"):
    task = task_of(make("blstm_ctc"))
    return open_source(folder, split, task.fields, task.layout)


def speller(model):
    """The task of a model with another alphabet, as training makes it."""
    model.origin.assets = {"alphabet.txt": b"' abc"}
    return task_of(model)


def test_adapt_takes_the_characters_of_the_transcripts(folder):
    task = task_of(make("blstm_ctc"))
    _, assets, arguments = type(task).adapt(opened(folder), {}, {})
    assert assets["alphabet.txt"].decode() == " ab\u00e9"
    assert arguments == {"symbols": 4}
    _, assets, arguments = type(task).adapt(opened(folder), {}, {"alphabet.txt": b"xyz"})
    assert ("alphabet.txt" in assets, arguments) == (False, {})


def test_an_alphabet_numbers_its_characters():
    alphabet = Alphabet(" ab\u00e9".encode())
    assert alphabet.encode(tf.constant("  b\u00e9\ta x ")).numpy().tolist() == [3, 4, 1, 2, 1]
    texts = alphabet.decode(tf.constant([[3, 4, 1, 2], [0, 0, 0, 0], [2, 0, 0, 0]]))
    assert [text.decode() for text in texts.numpy()] == ["b\u00e9 a", "", "a"]
    assert alphabet.unknown("a \u00e9zx") == ["x", "z"]


def test_transcripts_with_unknown_characters_are_refused(folder):
    task = speller(make("blstm_ctc"))
    message = r" all: the transcript 'a b\u00e9' has .* not in the model's alphabet \"' abc\": replace '\u00e9'"
    with pytest.raises(ZooError, match=message):
        task.check_source(opened(folder))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_unknown_characters_are_refused_in_every_split(split, folder, tmp_path):
    """A run checks its training and validation data, and an evaluation its own."""
    for file in folder.glob("*.wav"):
        (tmp_path / file.name).symlink_to(file)
    model = make("blstm_ctc")
    place = zoo.save(speller(model).model, tmp_path / "preset").path
    files = [stub["file"].decode() for stub in opened(folder, split).stubs.as_numpy_iterator()]
    lines = [f"{number}.wav\t{'ax' if files[0].endswith(f'{number}.wav') else 'ab'}\n" for number in range(10)]
    (tmp_path / "transcripts.tsv").write_text("".join(lines))
    message = (
        f" {split}: the transcript 'ax' has characters that are not in the model's alphabet \"' abc\": replace 'x'$"
    )
    with pytest.raises(ZooError, match=message):
        zoo.evaluate(place, str(tmp_path), split)
    if split != "test":
        settings = {
            "start_from": str(place),
            "model": None,
            "data": {"folder": str(tmp_path)},
            "training": {"epochs": 1},
        }
        with pytest.raises(ZooError, match=message):
            zoo.train("blstm_ctc", tmp_path.parent / f"run_{split}", **settings)


@pytest.mark.parametrize("second", ["0.wav\tb", "0.wav\ta", "./0.wav\tb"])
def test_a_file_with_two_transcripts_is_refused(second, folder, tmp_path):
    for name in ("0.wav", "1.wav"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "transcripts.tsv").write_text(f"0.wav\ta\n1.wav\ta\n{second}\n")
    with pytest.raises(
        ZooError, match=r"transcripts\.tsv, line 3: 0\.wav has a transcript already, in line 1: keep one"
    ):
        opened(tmp_path)


def test_transcripts_that_are_too_long_are_counted(folder, tmp_path):
    (tmp_path / "0.wav").symlink_to(folder / "0.wav")  # 0.1 s, 8 frames of 25 ms, 4 steps
    for text, count in (("abab", 0), ("ababa", 1), ("bbb", 1), ("bab", 0)):
        (tmp_path / "transcripts.tsv").write_text(f"0.wav\t{text}\n")
        remarks = speller(make("blstm_ctc")).remarks(opened(tmp_path))
        assert len(remarks) == count
    (tmp_path / "transcripts.tsv").write_text("0.wav\tababa\n")
    assert speller(make("blstm_ctc")).remarks(opened(tmp_path)) == [
        "1 of 1 transcripts need more steps than their sound has, and are not learned: a step is 2 frames"
    ]


def given_task(beam=1):
    """A task whose model has 2 frames of 10 ms per step."""
    task = speller(make("blstm_ctc"))
    task.settings = task.settings.model_copy(update={"beam": beam})
    return task


def given_logits(*paths: str) -> tf.Tensor:
    """Paths, one character per step and "-" for the blank, as logits that are almost certain."""
    numbers = np.array([["-' abc".index(letter) for letter in path] for path in paths])
    return tf.constant(9 * np.eye(6, dtype="float32")[numbers])


@pytest.mark.parametrize("beam", [1, 4])
def test_words_have_the_times_of_the_alignment(beam):
    task = given_task(beam)
    logits = given_logits("-aab- -cc-", "----------", " b- -  a- ")
    outputs = task.run(lambda inputs, training: {"logits": logits}, {})
    answers = {name: value.numpy() for name, value in task.answer(outputs).items()}
    rows = [task.to_python({name: value[row] for name, value in answers.items()}) for row in range(3)]
    assert [row["transcript"] for row in rows] == ["ab c", "", "b a"]
    first = 0.0075  # seconds at which the first frame of 25 ms begins, if each has the 10 ms around its centre
    assert rows[0]["words"] == [
        {"word": "ab", "start": pytest.approx(first + 0.02), "end": pytest.approx(first + 0.08)},
        {"word": "c", "start": pytest.approx(first + 0.14), "end": pytest.approx(first + 0.18)},
    ]
    assert rows[1]["words"] == []
    assert [(each["word"], round(each["start"], 4)) for each in rows[2]["words"]] == [("b", 0.0275), ("a", 0.1475)]
    assert rows[0]["score"] < 0
    assert rows[0]["score"] == pytest.approx(0, abs=0.1)


def test_no_time_is_after_the_end_of_the_sound():
    task, logits = given_task(), given_logits("-a-b", " ab-", "--cc")
    outputs = task.run(lambda inputs, training: {"logits": logits}, {"seconds": tf.constant([0.05, 0.1, 0.01])})
    answers = {name: value.numpy() for name, value in task.answer(outputs).items()}
    times = [(answers["starts"][row, 0], answers["ends"][row, 0]) for row in range(3)]
    np.testing.assert_allclose(times, [(0.0275, 0.05), (0.0275, 0.0675), (0.01, 0.01)], atol=1e-6)


def test_greedy_scores_are_at_most_those_of_the_beam():
    logits = tf.random.stateless_normal((3, 12, 6), (0, 1))
    scores = []
    for beam in (1, 32):
        scores.append(given_task(beam).run(lambda inputs, training: {"logits": logits}, {})["score"].numpy())
    assert (scores[0] < scores[1]).all()


def test_measure_counts_the_edits(folder):
    """An untrained model that writes nothing: all words are deleted."""
    model = make("blstm_ctc")
    model.origin.assets = {"alphabet.txt": " ab\u00e9c".encode()}
    model.head.bias.assign([9.0, 0, 0, 0, 0, 0])
    measured = task_of(model).measure(opened(folder), 4, None)
    assert measured.metrics == {"word_error_rate": 1.0, "character_error_rate": 1.0}
    assert measured.how["word_error_rate"] == "0 substitutions, 0 insertions, 15 deletions in 15 words"


@pytest.fixture(scope="module")
def listener():
    model = make("blstm_ctc_streaming", features=41, stack=3, units=12)
    CONTRACTS["speech_recognition"].complete(model)
    model.origin.settings |= {"front_end": {"filters": 41, "normalize": "running"}}
    model.head.kernel.assign(9 * model.head.kernel)  # so that it writes something
    return model


@pytest.mark.parametrize("chunk", [0.03, 0.25])
def test_listening_gives_the_answer_of_the_whole(listener, chunk):
    rows = [*zoo.listen(listener, SOUNDS / "six_16khz.wav", chunk)]
    whole = zoo.pipeline(listener)(SOUNDS / "six_16khz.wav")
    assert len(whole["transcript"]) > 2
    assert rows[-1]["transcript"] == whole["transcript"]
    assert rows[-1]["score"] == pytest.approx(whole["score"], abs=1e-3)
    assert rows[-1]["seconds"] == len(soundfile.read(SOUNDS / "six_16khz.wav")[0]) / RATE
    for row, word in zip(rows[-1]["words"], whole["words"], strict=True):
        assert row["word"] == word["word"]
        assert row["start"] == pytest.approx(word["start"], abs=1e-4)
        assert row["end"] == pytest.approx(word["end"], abs=1e-4)
    texts = [row["transcript"] for row in rows]
    assert all(later.startswith(text) for text, later in zip(texts, texts[1:], strict=False))


def test_listening_to_chunks_of_samples(listener):
    [*rows] = zoo.listen(listener, [np.zeros(400), np.zeros(0), np.zeros(7)])
    assert [row["seconds"] for row in rows] == [0.025, 0.025, 407 / RATE]
    with pytest.raises(InputError, match="not finite"):
        next(zoo.listen(listener, [np.full(9, np.nan)]))
    samples, _ = soundfile.read(SOUNDS / "six_16khz.wav", dtype="int16")
    expected = [*zoo.listen(listener, [samples / 32_768])][-1]
    assert [*zoo.listen(listener, [samples])][-1]["transcript"] == expected["transcript"] != ""
    with pytest.raises(InputError, match="^samples of int64, whose range is not known: give int16"):
        next(zoo.listen(listener, [samples.astype("int64")]))
    with pytest.raises(InputError, match="not a sound file"):
        next(zoo.listen(listener, SOUNDS / "README.md"))


def test_models_that_can_not_listen():
    with pytest.raises(ZooError, match="^blstm_ctc can't answer while sound arrives: it needs the whole sound"):
        zoo.listen(make("blstm_ctc"), [])
    with pytest.raises(ZooError, match="^mlp can't listen: its task, image_classification, does not transcribe sound$"):
        zoo.listen(make("mlp"), [])
    with pytest.raises(ZooError, match="chunk must be > 0 and <= 60 seconds, got 0"):
        zoo.listen(make("blstm_ctc_streaming"), [], chunk=0)


def test_posteriors_are_drawn(listener, tmp_path):
    [row] = zoo.explain(listener, SOUNDS / "six_16khz.wav", tmp_path / "p.png")
    answer = zoo.pipeline(listener)(SOUNDS / "six_16khz.wav")
    assert row["transcript"] == answer["transcript"]
    assert row["words"][0]["start"] == pytest.approx(answer["words"][0]["start"])
    assert row["symbols"][0] == ""
    steps = len(row["posteriors"])
    assert row["posteriors"].shape == (steps, len(row["symbols"]))
    assert len(row["step_times"]) == steps + 1
    np.testing.assert_allclose(row["posteriors"].sum(axis=1), 1, rtol=1e-6)
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert json.loads(json.dumps({key: value for key, value in row.items() if not hasattr(value, "shape")}))


def test_the_command_listen_prints_the_transcript(listener, tmp_path):
    zoo.save(listener, tmp_path / "listener")
    expected = zoo.pipeline(listener)(SOUNDS / "six_16khz.wav")["transcript"]
    command = ["listen", tmp_path / "listener", "--file", SOUNDS / "six_16khz.wav"]
    assert run_zoo(*command)[:2] == (0, f"{expected}\n")
    row = json.loads(run_zoo(*command, "--chunk", 0.5, "--json")[1])
    assert (row["input"], row["transcript"]) == (str(SOUNDS / "six_16khz.wav"), expected)
    status, _, error = run_zoo("listen", tmp_path / "listener", "--file", tmp_path / "none.wav")
    assert (status, error) == (1, f"zoo: {tmp_path / 'none.wav'}: the file does not exist\n")


def test_without_the_package_there_is_no_microphone(listener, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ZooError, match=r'^no microphone: .*; pip install "keras-zoo\[audio\]", or give a file$'):
        zoo.listen(listener)


def test_the_microphone_is_heard_until_it_ends(listener, monkeypatch):
    samples = soundfile.read(SOUNDS / "six_16khz.wav", dtype="float32")[0]

    class InputStream:
        def __init__(self, samplerate, channels, dtype, blocksize):
            assert (samplerate, channels, dtype, blocksize) == (RATE, 1, "float32", 4_000)
            self.chunks = iter(samples[: len(samples) // 4_000 * 4_000].reshape(-1, 4_000))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def read(self, size):
            try:
                return next(self.chunks)[:, np.newaxis], False
            except StopIteration:
                raise KeyboardInterrupt from None

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=InputStream))
    heard = []
    with contextlib.suppress(KeyboardInterrupt):
        for row in zoo.listen(listener, chunk=0.25):
            heard.append(row)  # noqa: PERF402, those before the interruption are kept
    assert heard[-1]["seconds"] == len(samples) // 4_000 * 0.25


@pytest.mark.slow
def test_an_onnx_file_and_its_runner_transcribe(listener, tmp_path):
    """Checked against the pipeline before the export is written; a bidirectional network as well."""
    samples = soundfile.read(SOUNDS / "six_16khz.wav", dtype="float32")[0]
    for model, settings in (
        (listener, {}),
        (speller(make("blstm_ctc")).model, CONTRACTS["speech_recognition"].settings),
    ):
        model.origin.settings |= settings
        folder = zoo.export(model, tmp_path / model.name, format="onnx", name="exported")
        [row] = verifying._portable_answers(folder, [{"waveform": samples}])
        expected = zoo.pipeline(model)(SOUNDS / "six_16khz.wav")
        assert row["transcript"] == expected["transcript"]
        assert row["score"] == pytest.approx(expected["score"], abs=1e-3)
        assert len(row["words"]) == len(expected["words"])
        for value, word in zip(row["words"], expected["words"], strict=True):
            assert value["word"] == word["word"]
            assert (value["start"], value["end"]) == pytest.approx((word["start"], word["end"]), abs=1e-4)
    with pytest.raises(ZooError, match="saved_model only with beam > 1: set beam=1"):
        zoo.export(listener, tmp_path / "beam", format="onnx", beam=4)


SECONDS = 1.0  # of a file
SILENCE, LOUD = np.zeros(8_000, "float32"), np.sign(np.sin(np.arange(8_000) / 9)).astype("float32")


def test_odd_sounds_are_answered(listener, tmp_path):
    """Silence, clipping, 10 ms and a sample alone, a minute, and eight channels."""
    soundfile.write(tmp_path / "8.wav", np.tile(LOUD[:, np.newaxis] / 2, (1, 8)), 8_000)
    minute = np.random.default_rng(0).normal(0, 0.1, 60 * RATE).clip(-1, 1).astype("float32")
    listener.origin.settings["longest"] = 60.0
    pipeline = zoo.pipeline(listener)
    for item in (SILENCE, LOUD, LOUD[:160], LOUD[:1], minute, tmp_path / "8.wav"):
        answer = pipeline(item)
        assert np.isfinite(answer["score"])
        assert " ".join(word["word"] for word in answer["words"]) == answer["transcript"]
        times = [time for word in answer["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert max(times, default=0) <= (len(item) / RATE if isinstance(item, np.ndarray) else SECONDS)
    assert pipeline(LOUD[:160])["transcript"] == ""  # less than a step
    with pytest.raises(InputError, match="are more than the limit of 60 s"):
        pipeline(np.zeros(3_600 * RATE, "int16"))
