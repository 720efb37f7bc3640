"""Preparing signals for a model: resampling, cutting windows, log-mel spectrograms and normalising."""

# The search prepares signals by this code too, so a deployed model gets the same numbers as the tested one.

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.inputs import Array, Arrays, InputError, Named, ReadsArrays
from nas.tasks.deployed.recordings import Float32Array, Recording, finite, read_csv, read_recording

Float64Array = npt.NDArray[np.float64]

PACKAGES = ("scipy",)
"""What pip installs to read WAV files and to resample."""
ENDINGS = (".wav", ".csv", ".npy")
"""Files with these endings are the signals of a folder."""
LEAST_SHARE = 0.25
"""A recording is padded to a window if at least this share of the window is there."""
_QUIETEST = 1e-6
"""The floor of the power in a mel band, so that silence has a logarithm."""
_FRAME_S, _HOP_S = 0.025, 0.010


# Samples


def resampled(recording: Recording, rate: int) -> Recording:
    """Return a recording with ``rate`` samples a second, by scipy's polyphase filter."""
    if recording.rate in (None, rate):
        return recording
    from scipy.signal import resample_poly

    assert recording.rate is not None
    common = math.gcd(rate, recording.rate)
    found = resample_poly(recording.samples.astype(np.float64), rate // common, recording.rate // common, axis=1)
    return Recording(np.ascontiguousarray(found, dtype=np.float32), rate)


def cut(samples: Float32Array, length: int, step: int) -> Float32Array:
    """Return windows of ``length`` samples, shape (N, channels, length), of a recording of shape (channels, samples).

    With ``step``, one starts every ``step`` samples, and a rest that fills none is left out. Without, the middle of the
    recording is the only one. A shorter recording is padded with zeros at its end.
    """
    missing = length - samples.shape[1]
    if missing >= 0:
        return np.pad(samples, ((0, 0), (0, missing)))[None]
    if not step:
        start = -missing // 2
        return samples[None, :, start : start + length]
    starts = range(0, -missing + 1, step)
    return np.stack([samples[:, start : start + length] for start in starts])


@dataclass(frozen=True)
class LogMel:
    """Log-mel spectrograms: the power in ``bands`` bands up to half the rate, equally wide on the mel scale.

    Frames of ``frame`` samples start every ``hop`` samples, under a Hann window. Powers become decimal logarithms.
    """

    rate: int
    bands: int
    frame: int
    hop: int

    @classmethod
    def usual(cls, rate: int, bands: int, samples: int) -> LogMel:
        """Return frames of 25 ms every 10 ms. Raises ValueError if a signal is too short for frames."""
        found = cls(rate, bands, max(2, round(_FRAME_S * rate)), max(1, round(_HOP_S * rate)))
        if found.frames(samples) < 2:
            raise ValueError(
                f"log-mel needs signals of at least two frames of {1000 * _FRAME_S:g} ms, but these have {samples} "
                f"samples at {rate} Hz. Use features raw."
            )
        if bands > found.frame // 2 + 1 or not found.filters().any(axis=1).all():
            raise ValueError(
                f"each of {bands} mel bands must hold a frequency, but at {rate} Hz some hold none. Take fewer bands."
            )
        return found

    def frames(self, samples: int) -> int:
        """Return the number of frames in a signal."""
        return 1 + (samples - self.frame) // self.hop

    def filters(self) -> Float64Array:
        """Return the weight of each frequency in each band, shape (bands, frequencies): triangles (HTK's mel scale)."""
        highest = 2595 * math.log10(1 + self.rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.bands + 2) / 2595) - 1)
        frequencies = np.fft.rfftfreq(self.frame, 1 / self.rate)
        low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        found: Float64Array = np.maximum(
            0, np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
        )
        return found

    def of(self, window: Float32Array) -> Float32Array:
        """Return the spectrogram of a window, shape (channels, samples): shape (channels × bands, frames)."""
        frames = np.lib.stride_tricks.sliding_window_view(window.astype(np.float64), self.frame, axis=1)[:, :: self.hop]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)
        power = np.abs(np.fft.rfft(frames * hann, axis=2)) ** 2 / self.frame
        bands = np.einsum("ctf,bf->cbt", power, self.filters())
        found: Float32Array = np.log10(np.maximum(bands, _QUIETEST)).reshape(-1, bands.shape[2]).astype(np.float32)
        return found


# Preparation


@dataclass(frozen=True)
class SignalForm:
    """The windows that models of a data set take.

    Attributes:
        channels: channels of a recording.
        samples: samples of a window.
        step: samples between the starts of windows of one recording; 0 for one window of each.
        rate: samples a second; None if it is unknown.
        rates: those of the recordings that the data set was made of.
        mono: the channels of a recording become their mean.
        rows: each row of a CSV file is a window.
        columns: the columns of a CSV file that are used, by name; without names all.
        log_mel: how windows become spectrograms; None if they stay as they are.
        channels_last: arrays of windows have the shape (N, samples, channels).
    """

    channels: int
    samples: int
    step: int = 0
    rate: int | None = None
    rates: tuple[int, ...] = ()
    mono: bool = False
    rows: bool = False
    columns: tuple[str, ...] = ()
    log_mel: LogMel | None = None
    channels_last: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """The channels and the samples of a model's input: of a spectrogram, its bands and frames."""
        if self.log_mel is None:
            return self.channels, self.samples
        return self.channels * self.log_mel.bands, self.log_mel.frames(self.samples)

    def features(self, windows: Float32Array) -> Float32Array:
        """Return windows, shape (N, channels, samples), as items: themselves, or their spectrograms one by one."""
        if self.log_mel is None:
            return windows
        return np.stack([self.log_mel.of(window) for window in windows])

    def windows(self, recording: Recording, path: Path) -> Float32Array:
        """Return the windows of a recording. Raises InputError if it has other channels or is too short."""
        samples = recording.samples
        if self.mono:
            samples = samples.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        if len(samples) != self.channels:
            raise InputError(f"{path} must have {self.channels} channels as other recordings, but has {len(samples)}.")
        if self.rate is not None:
            samples = resampled(Recording(samples, recording.rate), self.rate).samples
        if samples.shape[1] < LEAST_SHARE * self.samples:
            raise InputError(
                f"{path} must have at least a quarter of a window's {self.samples} samples, but has {samples.shape[1]}."
            )
        return cut(samples, self.samples, self.step)


@dataclass(frozen=True)
class SignalPreparation(ReadsArrays):
    """The way from a recording to a model's inputs: windows of a form, normalised by channel.

    Attributes:
        form: the windows that the model takes.
        mean: the mean of each channel of the input.
        std: the standard deviation of each channel of the input.
    """

    endings = ENDINGS
    noun = "signals"
    form: SignalForm
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> SignalPreparation:
        """Return the preparation that an ``architecture.json`` records."""
        stored = about["preparation"]
        form = dict(stored["form"])
        log_mel = None if form["log_mel"] is None else LogMel(**form["log_mel"])
        form |= {"columns": tuple(form["columns"]), "rates": tuple(form["rates"]), "log_mel": log_mel}
        return cls(SignalForm(**form), tuple(stored["mean"]), tuple(stored["std"]))

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for programs and in words."""
        return {
            "form": asdict(self.form),
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": "NTC" if self.form.channels_last else "NCT",
            "dtype": "float32",
            "in_words": self.in_words,
        }

    @property
    def in_words(self) -> list[str]:
        """The steps, in order."""
        form, mel = self.form, self.form.log_mel
        scale = "Divide samples of WAV files so that they lie within [-1, 1]: those of 16 bits by 32768."
        steps = [scale, "Average the channels."] if form.mono else [scale]
        if form.rate is not None:
            steps.append(f"Resample recordings of another rate to {form.rate} Hz by scipy.signal.resample_poly.")
        which = f"windows that start every {form.step} samples" if form.step else "the middle"
        steps.append(f"Take {which}: {form.channels} channels of {form.samples} samples. Pad with zeros at the end.")
        if mel is not None:
            steps.append(
                f"Take spectrograms: frames of {mel.frame} samples every {mel.hop}, Hann window, power, {mel.bands} "
                f"mel bands, and the decimal logarithm, of at least {_QUIETEST:g}."
            )
        return [*steps, "From each channel, subtract its mean, and divide by its standard deviation."]

    def file_items(self, path: Path) -> Named:
        """Yield the name and the values of each window of a file. Raises InputError if it cannot be used."""
        if self.form.rows and path.suffix.lower() == ".csv":
            table = read_csv(path, self.form.columns)
            numbers = table.numbers(table.places(self.form.columns))
            if numbers.shape[1] != self.form.channels * self.form.samples:
                raise InputError(
                    f"{path} must have {self.form.channels * self.form.samples} columns, one for each sample, but has "
                    f"{numbers.shape[1]}."
                )
            windows = numbers.reshape(-1, self.form.channels, self.form.samples)
            names = [f"{path}[{number}]" for number in range(len(windows))]
        else:
            recording = read_recording(path, self.form.columns)
            if recording.rate is not None and self.form.rate is None:
                raise InputError(
                    f"recordings must tell no sampling rate, as those that the model was trained on, but {path} has "
                    f"{recording.rate} Hz, and its samples lie within [-1, 1]. Write it as a CSV or .npy file with "
                    "numbers like those of the training, or train on WAV files."
                )
            if self.form.rate and recording.rate not in (None, self.form.rate, *self.form.rates):
                rates = ", ".join(map(str, self.form.rates or (self.form.rate,)))
                warnings.warn(f"all tested recordings had {rates} Hz. Others are resampled.", stacklevel=2)
            windows = self.form.windows(recording, path)
            per_second = self.form.rate or 1
            unit = "s" if self.form.rate else ""
            starts = [number * self.form.step / per_second for number in range(len(windows))]
            names = [f"{path}@{start:g}{unit}" for start in starts] if self.form.step else [str(path)]
        yield from ((name, (item,)) for name, item in zip(names, self.form.features(windows), strict=True))

    @property
    def nothing(self) -> Arrays:
        """The values of no windows."""
        return (np.zeros((0, *self.form.shape), np.float32),)

    def checked(self, windows: Array) -> Float32Array:
        """Return an array of windows as items. Raises InputError for another type or shape, or what is not finite."""
        shape = (self.form.channels, self.form.samples)
        shape = shape[::-1] if self.form.channels_last else shape
        if windows.ndim == 2 and self.form.channels == 1:
            windows = windows.reshape(len(windows), *(-1 if each > 1 else 1 for each in shape))
        if windows.dtype.kind not in "fiu" or windows.ndim != 3 or windows.shape[1:] != shape:
            raise InputError(
                f"signals must be numbers of shape (N, {', '.join(map(str, shape))}), but got {windows.dtype} of shape "
                f"{windows.shape}."
            )
        windows = windows.transpose(0, 2, 1) if self.form.channels_last else windows
        return self.form.features(finite(windows, "signals"))

    def prepared(self, raw: Arrays) -> Arrays:
        """Return items as the model's inputs: normalised by the mean and the standard deviation of each channel."""
        mean = np.asarray(self.mean, dtype=np.float32).reshape(1, -1, 1)
        std = np.asarray(self.std, dtype=np.float32).reshape(1, -1, 1)
        (items,) = raw
        return ((items.astype(np.float32) - mean) / std,)


def preparation_of(about: Mapping[str, Any]) -> SignalPreparation:
    """Return the preparation that an ``architecture.json`` records."""
    return SignalPreparation.of(about)
