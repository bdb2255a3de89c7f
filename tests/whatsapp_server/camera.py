"""Reads a QR code off the lines of a terminal, as a phone's camera would: ISO/IEC 18004, without errors to correct."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from segno import consts

_UPPER_LIGHT, _LOWER_LIGHT = "█▀", "█▄"
# The masks of section 7.8.2, at row i and column j.
_MASKS: tuple[Callable[[int, int], int], ...] = (
    lambda i, j: (i + j) % 2,
    lambda i, j: i % 2,
    lambda i, j: j % 3,
    lambda i, j: (i + j) % 3,
    lambda i, j: (i // 2 + j // 3) % 2,
    lambda i, j: i * j % 2 + i * j % 3,
    lambda i, j: (i * j % 2 + i * j % 3) % 2,
    lambda i, j: ((i + j) % 2 + i * j % 3) % 2,
)
_BORDER = 2  # what the bot draws; the standard asks for 4
_FORMAT_MASK = 0b10101
_LEVELS = {
    0b01: consts.ERROR_LEVEL_L,
    0b00: consts.ERROR_LEVEL_M,
    0b11: consts.ERROR_LEVEL_Q,
    0b10: consts.ERROR_LEVEL_H,
}

Matrix = Sequence[Sequence[bool]]  # True: dark


def read_qr(lines: Sequence[str]) -> list[str]:
    """The texts of the QR codes that *lines* show in half blocks, light on dark, in their order."""
    return [_decode(_matrix(block)) for block in _blocks(lines)]


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Each begins and ends with a border that is all light, at least in its lower or upper half."""
    block: list[str] = []
    for line in lines:
        if line and set(line) <= set(" █▀▄") and (not block or len(line) == len(block[0])):
            block.append(line)
            continue
        if block:
            yield block
        block = []
    if block:
        yield block


def _matrix(block: list[str]) -> Matrix:
    rows = [[half not in lights for half in line] for line in block for lights in (_UPPER_LIGHT, _LOWER_LIGHT)]
    # A drawing of an odd number of rows ends with a half that was never drawn, which is as dark as the terminal.
    rows = [row for row in rows if not all(row)]
    top, bottom = _extent([any(row) for row in rows])
    left, right = _extent([any(row[column] for row in rows) for column in range(len(rows[0]))])
    if min(top, left) < _BORDER:
        raise ValueError(f"a code needs a border of {_BORDER} light modules, not of {min(top, left)}")
    return [row[left:right] for row in rows[top:bottom]]


def _extent(dark: list[bool]) -> tuple[int, int]:
    """Where the dark ones begin, and end."""
    places = [place for place, is_dark in enumerate(dark) if is_dark]
    return places[0], places[-1] + 1


def _decode(matrix: Matrix) -> str:
    size = len(matrix)
    if size % 4 != 1 or any(len(row) != size for row in matrix):
        raise ValueError(f"{size} rows of {len(matrix[0])} modules are no QR code")
    version = (size - 17) // 4
    # Beside the upper left finder: two bits of the level, three of the mask.
    head = int("".join(str(int(matrix[8][column])) for column in range(5)), 2) ^ _FORMAT_MASK
    level, mask = _LEVELS[head >> 3], _MASKS[head & 0b111]
    bits = [matrix[i][j] != (mask(i, j) == 0) for i, j in _path(size, version)]
    words = [_number(bits[at : at + 8]) for at in range(0, len(bits) - 7, 8)]
    return _text(_in_order(words, version, level), version)


def _path(size: int, version: int) -> Iterator[tuple[int, int]]:
    """The modules of the data, in pairs of columns from the right, up and down in turns."""
    taken = set(_drawn(size, version))
    upward = True
    for right in (column if column > 6 else column - 1 for column in range(size - 1, 0, -2)):
        for row in reversed(range(size)) if upward else range(size):
            yield from ((row, column) for column in (right, right - 1) if (row, column) not in taken)
        upward = not upward


def _drawn(size: int, version: int) -> Iterator[tuple[int, int]]:
    """The modules that are the same in every code of the size, or hold its format and version."""
    yield from product(range(9), range(9))
    yield from product(range(9), range(size - 8, size))
    yield from product(range(size - 8, size), range(9))
    yield from ((6, at) for at in range(size))
    yield from ((at, 6) for at in range(size))
    positions: Any = consts.ALIGNMENT_POS
    centers = positions[version - 2] if version > 1 else ()
    in_corner = {(6, 6), (6, size - 7), (size - 7, 6)}
    for row, column in {*product(centers, centers)} - in_corner:
        yield from product(range(row - 2, row + 3), range(column - 2, column + 3))
    if version > 6:
        yield from product(range(6), range(size - 11, size - 8))
        yield from product(range(size - 11, size - 8), range(6))


def _in_order(words: list[int], version: int, level: int) -> list[int]:
    """The words of data, which come interleaved: one of each block in turns."""
    table: Any = consts.ECC
    sizes = [info.num_data for info in table[version][level] for _ in range(info.num_blocks)]
    blocks: list[list[int]] = [[] for _ in sizes]
    source = iter(words)
    for at in range(max(sizes)):
        for block, size in zip(blocks, sizes, strict=True):
            if at < size:
                block.append(next(source))
    return [word for block in blocks for word in block]


def _text(words: list[int], version: int) -> str:
    bits = [bool(word >> place & 1) for word in words for place in reversed(range(8))]
    if _number(bits[:4]) != consts.MODE_BYTE:
        raise ValueError("only QR codes of bytes are read")
    begin = 4 + (8 if version < 10 else 16)
    count = _number(bits[4:begin])
    return bytes(_number(bits[begin + 8 * at : begin + 8 * at + 8]) for at in range(count)).decode()


def _number(bits: Sequence[bool]) -> int:
    return int("".join(str(int(bit)) for bit in bits), 2)
