"""imagehash itself, with the resize passes of the recipe: what imgdb.hashes.exact must equal."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import imagehash
import numpy as np
from PIL import Image

from imgdb.hashes.values import Hashes

FUNCTIONS = {
    "ahash": imagehash.average_hash,
    "dhash": imagehash.dhash,
    "phash": imagehash.phash,
    "whash": imagehash.whash,
}
_resize = Image.Image.resize
_lock = threading.Lock()


def _resize_horizontally_first(self, size, resample=None, box=None, reducing_gap=None):
    assert box is None
    assert reducing_gap is None
    wide = self if self.width == size[0] else _resize(self, (size[0], self.height), resample)
    return wide if wide.height == size[1] else _resize(wide, size, resample)


@contextmanager
def pinned_resize() -> Iterator[None]:
    """Make Pillow resize as the recipe says, for code that calls it: tall pictures on Pillow 13."""
    with _lock:
        Image.Image.resize = _resize_horizontally_first
        try:
            yield
        finally:
            Image.Image.resize = _resize


def hash_by_imagehash(grey: Image.Image) -> Hashes:
    """Call imagehash four times."""
    with pinned_resize():
        bits = {name: function(grey).hash for name, function in FUNCTIONS.items()}
    return Hashes(
        **{
            name: int.from_bytes(np.packbits(values).tobytes(), "big", signed=True)
            for name, values in bits.items()
        }
    )
