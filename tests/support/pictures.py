"""Pictures that the tests make themselves: one scene in every format, and files by hand."""

import struct
import zlib
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageOps

from imgdb.pictures import loader
from imgdb.pictures.decoding import Decode

SIZE = (200, 150)


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw something that has colours, edges, no symmetry, and black and white in it."""
    width, height = size
    ramp = Image.linear_gradient("L").resize(size)
    picture = Image.merge("RGB", (ramp, ramp.rotate(180), Image.radial_gradient("L").resize(size)))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((width // 10, height // 8, width // 3, height // 2), fill="white")
    draw.ellipse((width // 2, height // 3, width * 7 // 8, height * 9 // 10), fill="black")
    draw.polygon([(width // 6, height * 3 // 4), (width // 3, height - 5), (5, height - 9)], "red")
    return picture


def grey_scene() -> Image.Image:
    return scene().convert("L")


def grey_array() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(grey_scene())


def encode(picture: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = BytesIO()
    # Pillow leaves settings of one format behind in a picture, which the next stumbles over.
    if "append_images" in options:
        options["append_images"] = [other.copy() for other in options["append_images"]]
    picture.copy().save(buffer, format_name, **options)
    return buffer.getvalue()


def see_through(picture: Image.Image) -> Image.Image:
    """Give the picture an alpha channel: from nothing at the top to all at the bottom."""
    picture = picture.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


def on_white(picture: Image.Image) -> Image.Image:
    """Lay a picture on white paper, the way of the design, written down once more."""
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture.convert("RGBA"))
    return paper.convert("L")


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """Write a PNG by hand: `rows` without filter bytes, `chunks` stand before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    stride = len(rows) // height if height else 0
    filtered = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride or 1))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def tiff(entries: dict[int, tuple[int, int, int]], data: bytes, order: str = "<") -> bytes:
    """Write a TIFF by hand: entries are tag: (type, count, value), the data begins at byte 8."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    page = struct.pack(order + "H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        field = (
            struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        )
        page += struct.pack(order + "HHI", tag, kind, count) + field
    return head + data + page + bytes(4)


def grey_tiff(samples: np.ndarray[Any, Any], bits: int, **tags: int) -> bytes:
    """Write grey samples as an uncompressed TIFF; tags: photometric, sample_format, orientation."""
    order = ">" if samples.dtype.byteorder == ">" else "<"
    data = samples.tobytes()
    entries = {
        256: (4, 1, samples.shape[1]),
        257: (4, 1, samples.shape[0]),
        258: (3, 1, bits),
        259: (3, 1, 1),
        262: (3, 1, tags.get("photometric", 1)),
        273: (4, 1, 8),
        274: (3, 1, tags.get("orientation", 1)),
        277: (3, 1, 1),
        278: (4, 1, samples.shape[0]),
        279: (4, 1, len(data)),
        339: (3, 1, tags.get("sample_format", 1)),
    }
    return tiff(entries, data, order)


def bmp(width: int, height: int, depth: int, compression: int, data: bytes, extra: bytes) -> bytes:
    """Write a BMP by hand; `extra` is the palette or the masks."""
    offset = 54 + len(extra)
    head = struct.pack("<2sIHHI", b"BM", offset + len(data), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, compression, 0, 0, 0, 0, 0)
    return head + info + extra + data


def ycck_jpeg(picture: Image.Image) -> bytes:
    """Write what Pillow cannot: inks as YCbCr of their inverse, and black, as Adobe does."""
    inks = np.asarray(picture.convert("CMYK"))
    colours = np.asarray(Image.fromarray(inks[:, :, :3]).convert("YCbCr"))
    stored = np.dstack([255 - colours, inks[:, :, 3]])  # Pillow writes the inverse of each channel
    content = bytearray(encode(Image.frombytes("CMYK", picture.size, stored.tobytes()), "JPEG"))
    content[content.index(b"Adobe") + 11] = 2  # the colour transform: of YCCK
    return bytes(content)


def every_format() -> dict[str, bytes]:
    """Write the scene in every format that Pillow can write, in the ways that a format has."""
    picture = scene()
    palette = picture.quantize(64)
    turned = picture.rotate(9)
    files = {
        "baseline.jpg": encode(picture, "JPEG"),
        "progressive.jpg": encode(picture, "JPEG", progressive=True),
        "grey.jpg": encode(picture.convert("L"), "JPEG"),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG"),
        "ycck.jpg": ycck_jpeg(picture),
        "444.jpg": encode(picture, "JPEG", subsampling="4:4:4"),
        "411.jpg": encode(picture, "JPEG", subsampling="4:1:1"),
        "two.mpo": encode(picture, "MPO", save_all=True, append_images=[turned]),
        "rgb.png": encode(picture, "PNG"),
        "alpha.png": encode(see_through(picture), "PNG"),
        "palette.png": encode(palette, "PNG"),
        "animated.png": encode(picture, "PNG", save_all=True, append_images=[turned]),
        "still.gif": encode(palette, "GIF"),
        "animated.gif": encode(palette, "GIF", save_all=True, append_images=[turned.quantize(64)]),
        "lossy.webp": encode(picture, "WEBP"),
        "alpha.webp": encode(see_through(picture), "WEBP", lossless=True),
        "animated.webp": encode(picture, "WEBP", save_all=True, append_images=[turned]),
        "rgb.bmp": encode(picture, "BMP"),
        "palette.bmp": encode(palette, "BMP"),
        "sizes.ico": encode(picture, "ICO", sizes=[(64, 64), (32, 32)]),
        "bitmap.ico": encode(picture, "ICO", sizes=[(64, 64)], bitmap_format="bmp"),
        "rgb.ppm": encode(picture, "PPM"),
        "grey.pgm": encode(picture.convert("L"), "PPM"),
        "bits.pbm": encode(picture.convert("1"), "PPM"),
        "float.pfm": encode(picture.convert("F"), "PPM"),
        "rgb.tga": encode(picture, "TGA"),
        "runs.tga": encode(picture, "TGA", compression="tga_rle"),
        "palette.tga": encode(palette, "TGA"),
        "rgb.jp2": encode(picture, "JPEG2000"),
        "bare.j2k": encode(picture, "JPEG2000", no_jp2=True),
        "still.avif": encode(picture, "AVIF"),
        "animated.avif": encode(picture, "AVIF", save_all=True, append_images=[turned]),
        "rgb.tif": encode(picture, "TIFF"),
        "pages.tif": encode(picture, "TIFF", save_all=True, append_images=[turned]),
        "fax.tif": encode(picture.convert("1"), "TIFF", compression="group4"),
        "float.tif": encode(picture.convert("F"), "TIFF"),
        "cmyk.tif": encode(picture.convert("CMYK"), "TIFF"),
        "big.tif": encode(picture, "TIFF", big_tiff=True),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"{compression}.tif"] = encode(picture, "TIFF", compression=compression)
    return files


def load(content: bytes, decode: Decode = "exact") -> loader.Picture:
    return loader.load_stream(
        BytesIO(content), byte_size=len(content), modified_at=datetime.now(UTC), decode=decode
    )


ORIENTATION = 0x0112


# What a camera stores when the upright picture is to be seen by way of an orientation.
STORED = {
    1: lambda upright: upright,
    2: ImageOps.mirror,
    3: lambda upright: upright.transpose(Image.Transpose.ROTATE_180),
    4: ImageOps.flip,
    5: lambda upright: upright.transpose(Image.Transpose.TRANSPOSE),
    6: lambda upright: upright.transpose(Image.Transpose.ROTATE_90),
    7: lambda upright: upright.transpose(Image.Transpose.TRANSVERSE),
    8: lambda upright: upright.transpose(Image.Transpose.ROTATE_270),
}


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def swapped_profile():
    """A profile that takes red for blue: the primaries of sRGB in another order."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        profile.replace(b"rXYZ", b"tmpp", 1)
        .replace(b"bXYZ", b"rXYZ", 1)
        .replace(b"tmpp", b"bXYZ", 1)
    )


def same_light(image: Image.Image, degrees: float) -> Image.Image:
    """Turn all hues and keep the brightness: what no hash can see."""
    light, blue, red = (np.asarray(band, float) for band in image.convert("YCbCr").split())
    turned = ((blue - 128) + 1j * (red - 128)) * np.exp(1j * np.radians(degrees))
    bands = [light, 128 + turned.real, 128 + turned.imag]
    stacked = np.clip(np.rint(np.dstack(bands)), 0, 255).astype(np.uint8)
    return Image.fromarray(stacked, "YCbCr").convert("RGB")
