"""The example pictures, and how they are turned."""

from pathlib import Path

from PIL import ImageOps

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "images").glob("*[!-]*.jpg"))


ORIGINALS = [path for path in EXAMPLES if "--" not in path.name]


def turn(picture, orientation):
    """Mirror left to right, then turn clockwise, as the definition says."""
    if orientation.mirrored:
        picture = ImageOps.mirror(picture)
    return picture.rotate(-orientation.degrees, expand=True)
