"""Turn any picture that Pillow decoded into small 8-bit colours, as it looks on white paper."""

from PIL import Image

from imgdb.pictures.grey import Samples, is_grey, is_transparent, on_paper, strips, to_grey


def to_small_colour(image: Image.Image, samples: Samples, *, side: int) -> Image.Image:
    """Give the loaded `image` as mode "RGB", its longer side between 2 and 4 times `side` at most.

    Ranges and transparency are as in `to_grey`; LAB gives only its lightness. The result is a new
    picture that needs no open file.
    """
    if is_grey(image):
        image = to_grey(image, samples)
    factor = max(1, max(image.size) // (2 * side))
    transparent = is_transparent(image)
    # First across, strip by strip, so that a big picture never stands in memory twice.
    narrow = Image.new("RGB", (-(-image.width // factor), image.height))
    for top, strip in strips(image):
        colours = (on_paper(strip) if transparent else strip).convert("RGB")
        narrow.paste(colours.reduce((factor, 1)), (0, top))
    return narrow.reduce((1, factor))
