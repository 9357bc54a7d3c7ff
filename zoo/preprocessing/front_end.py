"""The settings of a front end, which computes features of sound, and those of three common programs.

Imports no TensorFlow, so that a wrong setting is reported before TensorFlow starts.
"""

import dataclasses
from typing import Any

from zoo.errors import ZooError, unknown

EPSILON = 2.0**-23  # of float32
_CHOICES = {
    "edges": ("snip", "pad_last", "centre"),
    "window": ("hann", "hann_symmetric", "hamming", "povey"),
    "pre_emphasis_in": ("signal", "frame"),
    "power": (1, 2),
    "mel_scale": ("htk", "slaney"),
    "triangles_in": ("hertz", "mel"),
    "logarithm": ("natural", "decibel"),
    "dct": ("orthonormal", "sphinx"),
    "deltas": (0, 1, 2),
    "normalize": (None, "utterance", "running", "fixed"),
}


@dataclasses.dataclass(frozen=True)
class FrontEndSettings:
    """Settings of a `FrontEnd`; `dataclasses.asdict` gives them as JSON values.

    Args:
        rate: samples per second of the waveform.
        scale: factor of the waveform, whose values are in [-1, 1]; Kaldi and Sphinx compute with 16-bit integers.
        frame_length, frame_step: samples.
        fft_size: samples of the Fourier transform; a frame is followed by zeros.
        edges: "snip" has only frames that are full of samples, "pad_last" also one for the rest, followed by zeros, and
            "centre" has zeros on both sides, so that frame n is centred on sample n * frame_step. A waveform that is
            shorter than a frame has one frame.
        remove_dc: subtract the mean of each frame.
        pre_emphasis: a in x[n] - a x[n - 1]; 0 leaves it out.
        pre_emphasis_in: "signal", or each "frame" by itself, where its first sample is its own predecessor.
        window: "hann" (periodic), "hann_symmetric", "hamming" (symmetric) or "povey".
        power: 2 for the power spectrum, 1 for the magnitude spectrum.
        filters: number of mel filters.
        lowest, highest: edges of the filters, Hz.
        mel_scale: "htk" or "slaney" (linear below 1,000 Hz).
        triangles_in: the scale, "hertz" or "mel", in which the sides of a filter are straight.
        round_edges: move the corners of the triangles to the nearest frequencies of the transform.
        unit_area: divide each filter by its area in hertz.
        logarithm: "natural" or "decibel".
        log_offset, log_floor: the logarithm is that of max(x + log_offset, log_floor).
        decibel_range: raise values of an item that are further below its maximum, decibels; None leaves them.
        cepstra: number of cepstral coefficients; 0 gives the logarithms of the filters.
        dct: "orthonormal" (type 2), or "sphinx", which halves the first filter.
        lifter: Q in 1 + Q / 2 sin(pi n / Q), the factor of coefficient n (Juang, Rabiner & Wilpon 1987); 0 leaves it
            out.
        lifter_first: n of the first coefficient.
        log_energy: put the logarithm of a frame's energy, before pre-emphasis, in the place of the first coefficient.
        deltas: 1 adds first differences, 2 also their differences.
        delta_width: frames on each side from which a difference is computed.
        normalize: "utterance" subtracts an item's mean and divides by its standard deviation; "running" uses only the
            frames up to the present one, weighted by exp(-age / time_constant), and the training data before the first;
            "fixed" uses the training data alone.
        mean, deviation: of the training data, one number per feature, for "running" and "fixed".
        time_constant: frames.

    Raises:
        ZooError: a setting is out of its range.
    """

    rate: int = 16_000
    scale: float = 1.0
    frame_length: int = 400
    frame_step: int = 160
    fft_size: int = 512
    edges: str = "snip"
    remove_dc: bool = False
    pre_emphasis: float = 0.97
    pre_emphasis_in: str = "signal"
    window: str = "hamming"
    power: int = 2
    filters: int = 40
    lowest: float = 20.0
    highest: float = 8_000.0
    mel_scale: str = "htk"
    triangles_in: str = "hertz"
    round_edges: bool = False
    unit_area: bool = False
    logarithm: str = "natural"
    log_offset: float = 0.0
    log_floor: float = 1e-10
    decibel_range: float | None = None
    cepstra: int = 0
    dct: str = "orthonormal"
    lifter: float = 0.0
    lifter_first: int = 0
    log_energy: bool = False
    deltas: int = 0
    delta_width: int = 2
    normalize: str | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    time_constant: float = 300.0

    def __post_init__(self):
        for name, values in _CHOICES.items():
            if getattr(self, name) not in values:
                raise ZooError(f"{name} must be one of {', '.join(map(str, values))}, got {getattr(self, name)!r}")
        for name in ("rate", "frame_length", "frame_step", "filters", "delta_width"):
            if not getattr(self, name) >= 1:
                raise ZooError(f"{name} must be an integer >= 1, got {getattr(self, name)}")
        if self.frame_step > self.frame_length:
            raise ZooError(f"frame_step must be <= frame_length {self.frame_length}, got {self.frame_step}")
        if self.fft_size < self.frame_length or self.fft_size % 2:
            raise ZooError(f"fft_size must be even and >= frame_length {self.frame_length}, got {self.fft_size}")
        if not 0 <= self.lowest < self.highest <= self.rate / 2:
            raise ZooError(
                f"lowest and highest must be edges from 0 to {self.rate / 2:g} Hz, half the rate, got {self.lowest:g} "
                f"and {self.highest:g}"
            )
        if not 0 <= self.cepstra <= self.filters:
            raise ZooError(f"cepstra must be an integer from 0 to filters {self.filters}, got {self.cepstra}")
        if self.log_energy and not self.cepstra:
            raise ZooError("log_energy takes the place of the first cepstral coefficient: set cepstra")
        for name in ("mean", "deviation"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))  # JSON gives lists
            if self.normalize in ("running", "fixed") and len(getattr(self, name)) != self.dimension:
                raise ZooError(
                    f"normalize={self.normalize!r} needs a {name} of {self.dimension} numbers, got "
                    f"{len(getattr(self, name))}"
                )
        if not all(value > 0 for value in self.deviation):
            raise ZooError("deviation must be > 0 for every feature")

    @property
    def width(self) -> int:
        """The number of features of a frame without deltas."""
        return self.cepstra or self.filters

    @property
    def dimension(self) -> int:
        """D, the number of features of a frame."""
        return self.width * (1 + self.deltas)


# librosa.feature.mfcc at its defaults; with cepstra=0, power_to_db(librosa.feature.melspectrogram()).
LIBROSA = FrontEndSettings(
    rate=22_050,
    frame_length=2_048,
    frame_step=512,
    fft_size=2_048,
    edges="centre",
    pre_emphasis=0.0,
    window="hann",
    filters=128,
    lowest=0.0,
    highest=11_025.0,
    mel_scale="slaney",
    unit_area=True,
    logarithm="decibel",
    decibel_range=80.0,
    cepstra=20,
    lifter_first=1,
)
# Kaldi's compute-mfcc-feats at its defaults, without dither; with cepstra=0 and log_energy=False, compute-fbank-feats.
KALDI = FrontEndSettings(
    scale=32_768.0,
    remove_dc=True,
    pre_emphasis_in="frame",
    window="povey",
    filters=23,
    triangles_in="mel",
    log_floor=EPSILON,
    cepstra=13,
    lifter=22.0,
    log_energy=True,
)
# sphinx_fe with -lowerf 130 -upperf 6800, as the published features of AN4, without its noise and silence removal.
SPHINX = FrontEndSettings(
    scale=32_768.0,
    frame_length=410,
    edges="pad_last",
    filters=40,
    lowest=130.0,
    highest=6_800.0,
    round_edges=True,
    unit_area=True,
    log_offset=1e-4,
    log_floor=0.0,
    cepstra=13,
    dct="sphinx",
)

CONVENTIONS = {"librosa": LIBROSA, "kaldi": KALDI, "sphinx": SPHINX}


def front_end_settings(values: dict[str, Any], mean=None, deviation=None) -> FrontEndSettings:
    """Settings from JSON values: those of `convention`, or else the defaults, with the others in their place.

    Args:
        values: settings by name, and "convention": "librosa", "kaldi" or "sphinx".
        mean, deviation: of the training data; None for 0 and 1.

    Raises:
        ZooError: an unknown name, or a value that has another type or is out of its range.

    >>> front_end_settings({"convention": "kaldi", "cepstra": 0, "log_energy": False}).dimension
    23
    """
    own = dict(values)
    name = own.pop("convention", None)
    if name is not None and name not in CONVENTIONS:
        raise ZooError(f"convention must be one of {', '.join(CONVENTIONS)}, got {name!r}")
    base = CONVENTIONS.get(name, FrontEndSettings())
    fields = {field.name: field for field in dataclasses.fields(base) if field.name not in ("mean", "deviation")}
    for key, value in own.items():
        if key not in fields:
            raise unknown("setting of the front end", key, [*fields, "convention"])
        kind = fields[key].type
        kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(kind)
        optional = {"decibel_range": (int, float, type(None)), "normalize": (str, type(None))}
        if type(value) not in (kinds or optional[key]):
            wanted = {bool: "true or false", int: "an integer", str: "a string"}.get(kind, "a number")
            raise ZooError(f"{key} must be {'a string' if key == 'normalize' else wanted}, got {value!r}")
    chosen = dataclasses.replace(base, **{**own, "normalize": None})
    size = chosen.dimension
    mean, deviation = mean or (0.0,) * size, deviation or (1.0,) * size
    normalize = own.get("normalize", base.normalize)
    return dataclasses.replace(chosen, normalize=normalize, mean=tuple(mean), deviation=tuple(deviation))
