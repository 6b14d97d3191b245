"""The rules of the benches' kitchen: a soup from three onions; who meets whom; a clone that is stuck."""

import random

import numpy as np

from bench.kitchen import (
    ACTIONS,
    COOKED,
    DISH,
    INTERACT,
    POTTED,
    SERVED,
    SOUP_TAKEN,
    STAY,
    WIDTH,
    Kitchen,
    Player,
    Room,
)

NORTH, SOUTH, EAST, WEST = range(4)
ROWS = ["XXPXX", "O   O", "X   X", "XDXSX"]


def kitchen():
    return Kitchen(Room(ROWS, [(1, 2), (3, 1)], {}))


def test_a_soup_from_three_onions():
    game, led = kitchen(), 0.0
    onion = [NORTH, WEST, INTERACT, EAST, NORTH, INTERACT]
    # From (1, 2): an onion at (0, 1), into the pot at (2, 0); then twice more from the place before the pot.
    for action in [*onion, *([WEST, WEST, INTERACT, EAST, NORTH, INTERACT] * 2)]:
        led += game.step([action, STAY])[1]
    assert led == 3 * POTTED
    assert game.pots == {2: [3, 1]}
    for action in (SOUTH, WEST, SOUTH, INTERACT):
        led += game.step([action, STAY])[1]
    assert led == 3 * POTTED + DISH
    for action in (NORTH, EAST, NORTH):
        game.step([action, STAY])
    assert game.step([INTERACT, STAY]) == (0.0, 0.0)  # not done yet: nothing is taken
    while game.pots[2][1] < COOKED:
        game.step([STAY, STAY])
    assert game.step([INTERACT, STAY]) == (0.0, SOUP_TAKEN)
    for action in (SOUTH, EAST, SOUTH):
        game.step([action, STAY])
    assert game.step([INTERACT, STAY]) == (SERVED, 0.0)
    assert game.pots == {2: [0, -1]}


def test_a_dish_is_paid_only_where_it_is_of_use():
    game = kitchen()
    assert sum(game.step([action, STAY])[1] for action in (SOUTH, INTERACT)) == 0.0
    assert game.held == [3, 0]


def test_players_do_not_pass_through_each_other():
    game = kitchen()
    for both in ([EAST, SOUTH], [EAST, WEST]):  # face to face, then each into the other
        game.step(both)
    assert [at // 4 for at in game.at] == [2 * 5 + 2, 2 * 5 + 3]
    game.step([EAST, WEST])
    assert [at // 4 for at in game.at] == [2 * 5 + 2, 2 * 5 + 3]
    assert [at % 4 for at in game.at] == [EAST, WEST]


def test_a_stuck_clone_tries_something_else():
    """It would stay for ever; after three steps in one place, staying is not among what it does."""
    bias = np.zeros(ACTIONS)
    bias[STAY] = 50.0
    layers = [(np.zeros((ACTIONS, WIDTH)), bias)]
    room, rng, key = kitchen().room, random.Random(0), kitchen().key(0)
    for unblocked, wanted in ((True, False), (False, True)):
        past: list[tuple[int, int]] = []
        did = [Player(layers, unblocked=unblocked).act(room, key, past, rng) for _ in range(5)]
        assert did[:4] == [STAY] * 4
        assert (did[4] == STAY) is wanted
