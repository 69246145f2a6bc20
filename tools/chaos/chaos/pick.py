"""Where a key belongs, written anew from what the README says of it: murmur3 (32 bit, x86, seed 0) of salt and key, scaled to
10 000 buckets. The checker must not believe the node's own arithmetic."""

BUCKETS = 10_000
_MASK = 0xFFFFFFFF


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0."""
    value = 0
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        value ^= _scrambled(int.from_bytes(data[at : at + 4], "little"))
        value = (_rotated(value, 13) * 5 + 0xE6546B64) & _MASK
    value ^= _scrambled(int.from_bytes(data[whole:], "little"))
    value ^= len(data)
    value ^= value >> 16
    value = (value * 0x85EBCA6B) & _MASK
    value ^= value >> 13
    value = (value * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def bucket(salt: str, key: str) -> int:
    """The place of a key on the line, 0 to 9 999."""
    return (murmur3((salt + key).encode()) * BUCKETS) >> 32


def _scrambled(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK
