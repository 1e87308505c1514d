"""Lets the suite's runner, built against glibc 2.38, start on older ones: its linking table, mended.

It asks them for two versions: `GLIBC_2.38` for four functions that are `strtol` and its like with
another spelling, and `GLIBCXX_3.4.32` for a mark that nothing calls. Both wishes become weak, and the
four names the old ones. ELF-64, little endian: https://refspecs.linuxfoundation.org/elf/elf.pdf.
"""

import struct

__all__ = ["mend"]

_SECTIONS_AT = 0x28
_SECTION_SIZES_AT = 0x3A
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NEED = struct.Struct("<HHIII")
_WISH = struct.Struct("<IHHII")
_SYMBOL_SIZE = 24
_SYMBOLS, _NEEDS, _VERSIONS = 11, 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2
_TOO_NEW = frozenset({"GLIBC_2.38", "GLIBCXX_3.4.32"})
_OLD = ("libc.so.6", "GLIBC_2.2.5")
_NEW_PREFIX = "__isoc23_"


def mend(program: bytes) -> bytes:
    """The program with those wishes weakened; the same octets where it is no such program."""
    octets = bytearray(program)
    if octets[:6] != b"\x7fELF\x02\x01":
        return program
    tables, strings_at = _tables(octets)
    old_version = _weaken(octets, tables[_NEEDS][0], strings_at)
    symbols_at, symbols_size = tables[_SYMBOLS]
    for index in range(symbols_size // _SYMBOL_SIZE):
        at = symbols_at + index * _SYMBOL_SIZE
        (name_at,) = struct.unpack_from("<I", octets, at)
        if _text(octets, strings_at + name_at).startswith(_NEW_PREFIX):
            # The old name is the end of the new one.
            struct.pack_into("<I", octets, at, name_at + len(_NEW_PREFIX))
            struct.pack_into("<H", octets, tables[_VERSIONS][0] + 2 * index, old_version)
    return bytes(octets)


def _tables(octets: bytearray) -> tuple[dict[int, tuple[int, int]], int]:
    """Where the tables of these kinds stand and how large they are; and the names of symbols."""
    (sections_at,) = struct.unpack_from("<Q", octets, _SECTIONS_AT)
    size, count = struct.unpack_from("<HH", octets, _SECTION_SIZES_AT)
    sections = [_SECTION.unpack_from(octets, sections_at + i * size) for i in range(count)]
    found = {each[1]: each for each in sections if each[1] in {_SYMBOLS, _NEEDS, _VERSIONS}}
    strings_at: int = sections[found[_SYMBOLS][6]][4]
    return {kind: (each[4], each[5]) for kind, each in found.items()}, strings_at


def _weaken(octets: bytearray, at: int, strings_at: int) -> int:
    """Make wishes for versions that are too new weak; the number of the old version."""
    old_version = 0
    while True:
        _, count, library_at, first, step = _NEED.unpack_from(octets, at)
        wish_at = at + first
        for _ in range(count):
            _, flags, number, name_at, wish_step = _WISH.unpack_from(octets, wish_at)
            name = _text(octets, strings_at + name_at)
            if name in _TOO_NEW:
                struct.pack_into("<H", octets, wish_at + 4, flags | _WEAK)
            if (_text(octets, strings_at + library_at), name) == _OLD:
                old_version = number
            wish_at += wish_step
        if not step:
            return old_version
        at += step


def _text(octets: bytearray, at: int) -> str:
    return octets[at : octets.index(0, at)].decode()
