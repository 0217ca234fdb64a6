"""How large a picture may be; its header is checked before anything is decoded."""

from dataclasses import dataclass

from imgdb.errors import PictureError

# Phones make 200 megapixels.
MAX_PIXELS = 300_000_000

# Decoders work by rows: 300 million rows of one pixel take most of a minute, whatever they hold.
MAX_SIDE = 1 << 20

# A picture takes work by its pixels, whatever its bytes are: 35 bytes of GIF may call for 289
# million of them. Of real pictures, drawings in black and white have most pixels in a byte, some
# 1,600; a blank page of 64 million may have any number.
PIXELS_IN_A_BYTE = 4_000
ANY_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """What a file of `byte_size` bytes may hold."""

    max_pixels: int
    byte_size: int

    def check(self, format_name: str, width: int, height: int) -> None:
        """Raise PictureError: `too-large`, `bomb`, or `broken` where there is no pixel at all."""
        words = f"{format_name}: {width} x {height} pixels"
        if width <= 0 or height <= 0:
            raise PictureError("broken", words)
        if width * height > self.max_pixels or max(width, height) > MAX_SIDE:
            raise PictureError("too-large", words)
        if width * height > max(ANY_PIXELS, PIXELS_IN_A_BYTE * self.byte_size):
            raise PictureError("bomb", f"{words} of {self.byte_size:,} bytes")
