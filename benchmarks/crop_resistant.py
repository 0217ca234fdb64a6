"""The peer for crops: `imagehash.crop_resistant_hash`, and the same made faster by scipy."""

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

_SIDE = 300
_THRESHOLD = 128
_LEAST = 500


def segment_hashes(image: Image.Image) -> NDArray[np.uint64]:
    """Return the hashes of imagehash's segments, sorted."""
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    grey = grey.filter(ImageFilter.GaussianBlur()).filter(ImageFilter.MedianFilter())
    bright = np.asarray(grey) > _THRESHOLD
    boxes = [*_boxes(bright), *_boxes(~bright)] or [(slice(0, _SIDE), slice(0, _SIDE))]
    across, down = image.width / _SIDE, image.height / _SIDE
    found = [
        imagehash.dhash(
            image.crop((x.start * across, y.start * down, x.stop * across, y.stop * down))
        )
        for y, x in boxes
    ]
    return _packed(found)


def _boxes(mask: NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(labels)
    return [box for box, size in zip(boxes, sizes, strict=True) if size > _LEAST]


def imagehash_hashes(image: Image.Image) -> NDArray[np.uint64]:
    """Do as `segment_hashes` by imagehash itself."""
    return _packed(imagehash.crop_resistant_hash(image).segment_hashes)


def _packed(found: list[imagehash.ImageHash]) -> NDArray[np.uint64]:
    packed = np.packbits([one.hash.ravel() for one in found], axis=1)
    return np.sort(packed.view(">u8")[:, 0].astype(np.uint64))


def votes(query: NDArray[np.uint64], image: NDArray[np.uint64], max_distance: int) -> int:
    """Count the segments of the query that have one alike in the image."""
    distances = np.bitwise_count(query[:, None] ^ image[None, :])
    return int((distances.min(axis=1) <= max_distance).sum())
