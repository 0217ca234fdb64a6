"""How large a picture may be; its header is checked before anything is decoded."""

from imgdb.errors import PictureError

# Phones make 200 megapixels.
MAX_PIXELS = 300_000_000

# Decoders work by rows: 300 million rows of one pixel take most of a minute, whatever they hold.
MAX_SIDE = 1 << 20


def check_size(format_name: str, width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError `too-large`, or `broken` where there is no pixel at all."""
    words = f"{format_name}: {width} x {height} pixels"
    if width <= 0 or height <= 0:
        raise PictureError("broken", words)
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise PictureError("too-large", words)
