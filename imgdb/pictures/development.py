"""Camera raws -> pictures, by LibRaw, which comes with the package rawpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imgdb.errors import PictureError

# LibRaw says how to turn what the sensor measured; these are EXIF's numbers for the same.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}


class Raw:
    """An opened raw; `width` and `height` are those of what the sensor measured, upright."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        sizes = raw.sizes
        self._flip = int(sizes.flip)
        sides = (int(sizes.width), int(sizes.height))
        self.width, self.height = sides[::-1] if self._flip in (5, 6) else sides

    def preview(self) -> bytes | None:
        """Return the JPEG that the camera made, None if there is none."""
        import rawpy

        try:
            found = self._raw.extract_thumb()
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            return None
        return bytes(found.data) if found.format == rawpy.ThumbFormat.JPEG else None

    def orientation(self, width: int, height: int) -> int:
        """Return EXIF's number for how a preview of this size is to be turned."""
        if self._flip in (5, 6) and (width < height) == (self.width < self.height):
            return 1  # the camera has turned it
        return _ORIENTATIONS.get(self._flip, 1)

    def developed(self) -> NDArray[np.uint8]:
        """Return the picture at half its size, upright, in colours."""
        colours: NDArray[np.uint8] = self._raw.postprocess(half_size=True, use_camera_wb=True)
        return colours


def require_reader() -> None:
    """Raise PictureError if there is nothing to read raws with."""
    if find_spec("rawpy") is None:
        words = "a camera raw: needs the package rawpy (pip install rawpy)"
        raise PictureError("unsupported-format", words)


@contextmanager
def opened_raw(file: BinaryIO) -> Iterator[Raw]:
    """Open a raw; raises whatever LibRaw raises."""
    import rawpy

    file.seek(0)
    with rawpy.imread(file) as raw:
        yield Raw(raw)
