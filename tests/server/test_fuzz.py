"""Malformed requests of every kind against the public routes: refused, never a 500. `bench/fuzz.py` runs many more."""

from bench.fuzz import Mutator, attack


async def test_nothing_that_comes_in_makes_a_500(world):
    await world.launch()
    receipt = (await world.decide())["receipt"]
    mutator = Mutator(seed=20, key=world.key, campaign=world.slug, receipt=receipt, now_ms=world.clock.now_ms())
    tally = await attack(world.front, mutator, 3000)
    assert sum(tally.values()) == 3000
    assert not any(status >= 500 for status in tally), tally
    # Whatever was mangled, some of it must have come through, or this tests only the parser.
    assert tally[200] > 50
    assert tally[422] > 500


async def test_a_mutator_repeats_itself():
    def bodies(seed):
        mutator = Mutator(seed=seed, key="k", campaign="c", receipt="r" * 84, now_ms=1)
        return [mutator.next() for _ in range(50)]

    assert bodies(1) == bodies(1) != bodies(2)
