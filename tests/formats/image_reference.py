"""Writes the pictures of image_test.cpp and sources_test.cpp, and their pixels by Pillow: needs Pillow and numpy.

Usage: image_reference.py FOLDER
"""
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 13, 18
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
grey = ((x * 14 + y * 5) % 256).astype(np.uint8)
colour = np.stack([x * 14, y * 20, (x * y * 3) % 256], axis=2).astype(np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(samples):
    """Pillow writes no colour picture of 16 bits."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def interlaced(samples):
    """Adam7, which Pillow reads but does not write."""
    height, width, _ = samples.shape
    rows = b""
    for top, left, down, across in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = samples[top::down, left::across]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}

    def save(name, picture, mode, **options):
        picture.save(folder / name, **options)
        expected[name] = np.asarray(Image.open(folder / name).convert(mode))

    save("grey.png", Image.fromarray(grey), "L")
    save("colour.png", Image.fromarray(colour), "RGB")
    save("bits.png", Image.fromarray(grey > 127), "L")
    save("palette.png", Image.fromarray(colour).quantize(13), "RGB")
    save("opaque.png", Image.fromarray(np.dstack([colour, np.full_like(grey, 255)])), "RGB")
    save("text.png", Image.fromarray(grey), "L", dpi=(72, 72), icc_profile=b"no profile")
    save("grey.jpg", Image.fromarray(grey), "L", quality=90)
    save("colour.jpg", Image.fromarray(colour), "RGB", quality=90)
    save("full.jpg", Image.fromarray(colour), "RGB", quality=75, subsampling=0)
    save("progressive.jpeg", Image.fromarray(colour), "RGB", quality=90, progressive=True)
    (folder / "interlaced.png").write_bytes(interlaced(colour))
    expected["interlaced.png"] = np.asarray(Image.open(folder / "interlaced.png"))
    assert (expected["interlaced.png"] == colour).all()
    deep = (np.dstack([x, y, x + y]) * 1999 % 65536).astype(np.uint32)
    (folder / "deep.png").write_bytes(png16(deep))
    expected["deep.png"] = ((deep * 255 + 32767) // 65535).astype(np.uint8)
    clear = np.dstack([colour, np.where(grey > 40, 255, 254).astype(np.uint8)])
    Image.fromarray(clear).save(folder / "transparent.png")
    Image.fromarray(grey).save(folder / "hole.png", transparency=14)
    Image.fromarray(np.dstack([colour, grey]), "CMYK").save(folder / "print.jpg")
    np.savez_compressed(folder / "expected.npz", **expected)
    picture = Image.fromarray(colour)
    np.savez_compressed(
        folder / "prepared.npz",
        grey=np.asarray(picture.convert("L")),
        smaller=np.asarray(picture.resize((7, 5), Image.Resampling.BILINEAR)),
        larger=np.asarray(picture.resize((40, 31), Image.Resampling.BILINEAR)),
    )


main()
