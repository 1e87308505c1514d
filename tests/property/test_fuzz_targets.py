"""The fuzz targets on their seeds and what chance makes of them: `make fuzz` looks further, and they cannot rot."""

import random
from importlib import import_module

import pytest

from tests.fuzz.targets import TARGETS


def _changed(raw: bytes, chance: random.Random) -> bytes:
    made = bytearray(raw)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(4):
            case 0:
                made[at:at] = chance.randbytes(chance.randrange(1, 5))
            case 1:
                del made[at : at + chance.randrange(1, 9)]
            case 2:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                made += raw[at:]
    return bytes(made)


@pytest.mark.parametrize("name", TARGETS)
def test_each_claim_holds_for_seeds_and_their_neighbours(name: str) -> None:
    target = TARGETS[name]
    module = import_module(target.module)
    judge = getattr(module, target.function)
    chance = random.Random(name)

    for seed in (b"", *getattr(module, target.seeds)):
        judge(seed)
        for _ in range(target.rounds):
            judge(_changed(seed, chance))
