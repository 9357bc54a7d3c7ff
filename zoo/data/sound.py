"""Sound files to waveforms: WAV, FLAC, OGG, MP3 and whatever else libsndfile reads -> mono float32 at a wanted rate.

Files are read in blocks, so that memory holds a block and the waveform itself. Errors do not contain the name of the
file; the caller puts it in front.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import InputError, reading_errors
from zoo.preprocessing.limits import LONGEST_SOUND, SAMPLE_RATES

_BLOCK = 1 << 18  # samples of all channels together that are read at once
LOUDEST = 8.0  # lossy formats exceed 1 a little; floats that are much larger have another scale
_MIDDLES = {"uint8": 128, "int16": 0, "int32": 0}  # value of silence in the integers of WAV files
_ORDERS = {b"RIFF": "little", b"RIFX": "big", b"FORM": "big"}  # start of WAV and AIFF files -> their order of bytes
_STREAMED = 0x7FFFF000  # bytes: programs that write to a pipe state this size or a larger one, as they don't know it
_MOST_CHUNKS = 1_000  # parts of a WAV or AIFF file that are looked at
NO_SAMPLES = "the sound has no samples"
NOT_FINITE = "the sound has samples that are not finite"
_KINDS = "expected WAV, FLAC, OGG or MP3"


def read(file: Any, rate: int, longest: float = LONGEST_SOUND) -> np.ndarray:
    """The waveform of a sound file, (T,) float32 in [-1, 1]: the mean of its channels, resampled to `rate`.

    Args:
        file: a path, an open file, or the bytes of a file.
        rate: samples per second.
        longest: the greatest length, seconds.

    Raises:
        InputError: the file is missing, a folder, empty, damaged, truncated, too long or not a sound file, has a rate
            outside of SAMPLE_RATES, or has samples that are not finite or far outside of [-1, 1].
    """
    return np.concatenate([*read_blocks(file, rate, longest)])


def read_blocks(file: Any, rate: int, longest: float | None = None) -> Iterator[np.ndarray]:
    """As `read`, in blocks of any length that make up the waveform; without `longest` the file may have any length."""
    import soundfile
    import soxr

    with _opened(file) as opened:
        _check_size(opened)
        try:
            sound = soundfile.SoundFile(_Nameless(opened))
        except soundfile.LibsndfileError as error:
            raise _refusal(opened, error) from None
        with sound:
            check_rate(sound.samplerate)
            if longest is not None and sound.frames > longest * sound.samplerate:
                raise too_long(sound.frames / sound.samplerate, longest)
            resampler = None
            if sound.samplerate != rate:
                resampler = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32")
            count = 0
            for block in _mono(sound):
                count += len(block)
                if longest is not None and count > longest * sound.samplerate:
                    raise too_long(count / sound.samplerate, longest)
                yield resampler.resample_chunk(block) if resampler else block
            if not count:
                raise InputError(NO_SAMPLES)
            if resampler:
                yield resampler.resample_chunk(np.zeros(0, "float32"), last=True)


def seconds(file: str | os.PathLike) -> float:
    """The length of a sound file by its header; 0 for a file that is not a sound, which `read` refuses."""
    import soundfile

    try:
        facts = soundfile.info(file)
    except (soundfile.LibsndfileError, OSError):
        return 0.0
    return facts.frames / facts.samplerate


def _mono(sound) -> Iterator[np.ndarray]:
    """The samples of an open sound file, (n,) float32, averaged over the channels."""
    import soundfile

    while True:
        try:
            block = sound.read(max(_BLOCK // sound.channels, 1), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(f"damaged or truncated sound file: {_reason(error)}") from None
        if not len(block):
            return
        check(block)
        yield block[:, 0] if sound.channels == 1 else block.mean(axis=1)


def _check_size(file) -> None:
    """Raises InputError if a WAV or AIFF file is shorter than its header states, of which libsndfile says nothing."""
    with reading_errors():
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(0)
        order, place = _ORDERS.get(file.read(12)[:4]), 12
        for _ in range(_MOST_CHUNKS if order else 0):
            file.seek(place)
            name, length = file.read(4), int.from_bytes(file.read(4), order)
            place += 8
            if name in (b"data", b"SSND") and size - place < length < _STREAMED:
                raise InputError(
                    f"truncated sound file: its header states {length:,} bytes of samples, but {size - place:,} follow"
                )
            if name in (b"data", b"SSND", b""):
                break
            place += length + length % 2
        file.seek(0)


def check_rate(rate: int) -> None:
    """Raises InputError if samples per second are not those of a sound."""
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise InputError(f"{rate:,} samples per second are not a sound: expected {lowest:,} to {highest:,}")


def of_integers(samples: np.ndarray) -> np.ndarray:
    """Integer samples as float32 in [-1, 1], any shape: 8 bits without sign, or 16 or 32 bits with it.

    Raises:
        InputError: samples of another type, whose range is not known.
    """
    if samples.dtype.name not in _MIDDLES:
        raise InputError(
            f"samples of {samples.dtype.name}, whose range is not known: give int16, int32, uint8, or floats in [-1, 1]"
        )
    middle = _MIDDLES[samples.dtype.name]
    return (samples.astype("float32") - middle) / 2 ** (8 * samples.itemsize - 1)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at one rate -> at another rate, (T,) -> (T',) float32, as `read` resamples a file."""
    import soxr

    return samples if rate == wanted else soxr.resample(samples, rate, wanted)


def check(samples: np.ndarray) -> None:
    """Raises InputError if samples are not finite, or far outside of [-1, 1]."""
    loudest = np.abs(samples).max()
    if not np.isfinite(loudest):
        raise InputError(NOT_FINITE)
    if loudest > LOUDEST:
        raise InputError(f"samples up to {loudest:,.0f}: a sound of floats must have samples in [-1, 1]")


@contextlib.contextmanager
def _opened(file: Any) -> Iterator[Any]:
    """A file that can seek, at its start."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        yield io.BytesIO(file)
    elif isinstance(file, (str, os.PathLike)):
        path = Path(file)
        with reading_errors():
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise InputError("a folder, not a sound file")
            if not stat.S_ISREG(mode):
                raise InputError("not a regular file")
            opened = path.open("rb")
        with opened:
            yield opened
    elif callable(getattr(file, "read", None)):
        if isinstance(file, io.TextIOBase):
            raise InputError('the file was opened as text: open it with mode "rb"')
        with reading_errors():
            if file.seekable():
                file.seek(0)
            else:
                file = io.BytesIO(file.read())
        yield file
    else:
        raise InputError(
            f"an item of type {type(file).__name__} is not a sound file: give a path, an open file or bytes"
        )


class _Nameless:
    """An open file without the attribute `name`, from whose suffix soundfile would guess the format."""

    def __init__(self, file):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _refusal(file, error: Exception) -> InputError:
    """The error for a file that libsndfile does not open."""
    file.seek(0)
    start = file.read(12)
    if not start:
        return InputError("empty")
    is_sound = start[:4] in (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM") or start[:3] == b"ID3"
    if "SF_INFO" in _reason(error):
        return InputError("damaged sound file: its samples per second are 0, or far too many")
    if is_sound:
        return InputError(f"damaged or truncated sound file: {_reason(error)}")
    return InputError(f"not a sound file: {_KINDS}")


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error))
    return " ".join(text.removeprefix("Error : ").split())[:100].rstrip(".")


def too_long(seconds: float, longest: float) -> InputError:
    """The error for a sound that is longer than the limit."""
    length, limit = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (seconds, longest))
    return InputError(f"{length} s of sound are more than the limit of {limit} s")
