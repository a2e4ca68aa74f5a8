"""The IDX format of the MNIST family of files.

Source: the format's description on the MNIST page (Y. LeCun, C. Cortes, C. Burges): two zero bytes, one byte for the
type of the elements (8: unsigned byte), one for the number of dimensions, each size as a big-endian 32-bit integer,
then the elements in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from tunesmith.train.errors import DataDamagedError

_UNSIGNED_BYTE = 8


def decompress(content: bytes, source: str) -> bytes:
    """Undo gzip if ``content`` begins with its magic number.

    Raises:
        DataDamagedError: a gzip stream that is cut off or fails its checksum.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataDamagedError(f"{source} is a damaged gzip file ({error}); delete it and fetch it again.") from None


def parse(content: bytes, n_dimensions: int, source: str) -> NDArray[np.uint8]:
    """Read an (uncompressed) IDX file of unsigned bytes.

    Args:
        content: the whole file.
        n_dimensions: how many dimensions it should have: 3 for images, 1 for labels.
        source: the file's name, for messages.

    Returns:
        uint8 array with the sizes of the header.

    Raises:
        DataDamagedError: another magic number, another number of dimensions, or a wrong length.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise DataDamagedError(
            f"{source} is no IDX file of unsigned bytes: it begins with {content[:4].hex(' ') or 'nothing'}."
        )
    if content[3] != n_dimensions:
        raise DataDamagedError(f"{source} has {content[3]} dimensions where {n_dimensions} are expected.")
    start = 4 + 4 * n_dimensions
    if len(content) < start:
        raise DataDamagedError(f"{source} ends within its header ({len(content)} bytes).")
    shape = struct.unpack(f">{n_dimensions}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise DataDamagedError(
            f"{source} should hold {math.prod(shape)} elements {shape} but holds {len(content) - start}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
