"""Tone mapping: a colour table from HDR (PQ, HLG; ITU-R BT.2100) to BT.709.

Highlights are compressed as in ITU-R BT.2390-11, section 5.4, on the largest of red, green and
blue, so that hues are kept; a colour outside BT.709 loses saturation until it fits. The white of
SDR is 203 cd/m² (ITU-R BT.2408-7, section 2.1), the peak of the source 1000 cd/m²: what is brighter
is white. They are constants, so that all frames and parts of a film are mapped alike.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["TONE_MAPPED", "cube_file", "tone_map"]

TONE_MAPPED: Final = {16: "PQ", 18: "HLG"}
"""The transfer functions of HDR by their code points (ITU-T H.273, table 3)."""

_PEAK: Final = 1000.0  # cd/m²
_WHITE: Final = 203.0  # cd/m²
_STEPS: Final = 33
"""The usual size of a table: interpolation is off by less than a step of 8 bits."""
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
"""The constants of PQ (SMPTE ST 2084; BT.2100-2, table 4)."""
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
"""The constants of HLG (BT.2100-2, table 5)."""
_TO_709: Final = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)
"""Linear BT.2020 to linear BT.709 (ITU-R BT.2407-0, section 2)."""


def tone_map(rgb: "Values", transfer: int) -> "Values":
    """Return BT.709 signals for those of BT.2020, both from 0 to 1 with RGB on the last axis.

    `transfer` is one of `TONE_MAPPED`. The result is for a display of BT.1886.
    """
    import numpy as np

    light = _pq_light(rgb) if transfer == 16 else _hlg_light(rgb)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    linear = light * (_compress(largest) / largest / _WHITE) @ np.array(_TO_709).T
    grey = np.clip(linear @ (0.2126, 0.7152, 0.0722), 0, 1)[..., None]
    below = np.minimum(linear.min(axis=-1, keepdims=True), 0)
    above = np.maximum(linear.max(axis=-1, keepdims=True), 1)
    # The share of the colour that fits between 0 and 1, from grey to the colour itself.
    share = np.minimum(
        grey / np.maximum(grey - below, 1e-9), (1 - grey) / np.maximum(above - grey, 1e-9)
    )
    fitted = grey + (linear - grey) * np.minimum(share, 1)
    signals: Values = np.clip(fitted, 0, 1) ** (1 / 2.4)
    return signals


def _pq_light(signal: "Values") -> "Values":
    """Return the light (cd/m²) of a PQ signal."""
    import numpy as np

    power = np.clip(signal, 0, 1) ** (1 / _M2)
    return 10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _pq_signal(light: "Values") -> "Values":
    """Return the PQ signal of light (cd/m²)."""
    power = (light / 10000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _hlg_light(signal: "Values") -> "Values":
    """Return the light (cd/m²) of an HLG signal on a display with this peak: a gamma of 1.2."""
    import numpy as np

    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    luma = np.maximum(scene @ (0.2627, 0.6780, 0.0593), 1e-9)[..., None]
    return _PEAK * scene * luma**0.2


def _compress(light: "Values") -> "Values":
    """Return light (cd/m²) between 0 and the peak as light between 0 and the white of SDR."""
    import numpy as np

    peak = _pq_signal(np.array(_PEAK))
    white = _pq_signal(np.array(_WHITE)) / peak
    value = np.minimum(_pq_signal(light) / peak, 1)
    knee = 1.5 * white - 0.5
    t = np.maximum(value - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * white
    )
    return _pq_light(np.where(value < knee, value, spline) * peak)


@cache
def cube_file(transfer: int) -> str:
    """Return the table as the text of a .cube file, for FFmpeg's filter `lut3d`."""
    import numpy as np

    steps = np.linspace(0, 1, _STEPS)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red changes fastest
    table = tone_map(np.stack([red, green, blue], axis=-1), transfer).reshape(-1, 3)
    lines = (f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in table.tolist())
    return "\n".join([f"LUT_3D_SIZE {_STEPS}", *lines, ""])
