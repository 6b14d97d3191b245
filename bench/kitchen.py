"""Overcooked's kitchen for two (Carroll et al. 2019, 1910.05789), quick enough to learn in; NumPy alone.

Written from the rules of the package ``overcooked-ai`` as they were in that paper: three onions cook by themselves, for
20 steps; a soup served earns 20. ``bench/peers_overcooked.py`` compares every step and every feature with the package's
own game. Features are those of its ``featurize_state``: 46 for each player, where the other is, and the place.
What lies on a counter is in none of them, so a player's view depends on few things, and is remembered.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STAY, INTERACT, ACTIONS = 4, 5, 6
"""Actions: north, south, east, west, stay, interact."""
HORIZON, COOKED, FULL, SERVED = 400, 20, 3, 20.0
WIDTH = 96
"""Features a player sees."""
POTTED, DISH, SOUP_TAKEN = 3.0, 3.0, 5.0
"""The package's reward for what leads to a soup."""
_STEPS = ((0, -1), (0, 1), (1, 0), (-1, 0))
_NOTHING, _ONION, _SOUP, _PLATE = 0, 1, 2, 3
_MANY = 400_000

View = NDArray[np.float32]
Key = tuple[int, ...]


class Room:
    """A layout: what stands where, and what a player sees from each place. Cells are numbered row by row.

    ``costs`` are the package's steps from (cell, facing) to interacting with a cell; none: out of reach. They tell
    which dispenser or pot is the closest.
    """

    def __init__(
        self, rows: Sequence[str], starts: Sequence[tuple[int, int]], costs: dict[str, dict[str, int]]
    ) -> None:
        self.wide = len(rows[0])
        self.terrain = "".join(rows)
        self.starts = [x + y * self.wide for x, y in starts]
        self.steps = [dx + dy * self.wide for dx, dy in _STEPS]
        self.pots = [cell for cell, kind in enumerate(self.terrain) if kind == "P"]
        self._costs = {int(at): {int(to): cost for to, cost in row.items()} for at, row in costs.items()}
        self.scale: View = np.ones(WIDTH, np.float32)
        self._sides: dict[Key, View] = {}
        self._views: dict[Key, View] = {}

    def scale_by(self, scale: View) -> None:
        """From now on every feature is divided by its ``scale`` (WIDTH,)."""
        self.scale = scale
        self._views.clear()

    def view(self, key: Key) -> View:
        """What a player sees. ``key``: its (cell × 4 + facing, held), the other's, then (onions, ticks) of each pot."""
        known = self._views.get(key)
        if known is None:
            mine, other = self._side(key[0], key[1], key[4:]), self._side(key[2], key[3], key[4:])
            here, there = self._place(key[0] // 4), self._place(key[2] // 4)
            known = (np.concatenate([mine, other, there - here, here]) / self.scale).astype(np.float32)
            if len(self._views) > _MANY:
                self._views.clear()
            self._views[key] = known
        return known

    def _place(self, cell: int) -> View:
        return np.array([cell % self.wide, cell // self.wide], np.float32)

    def _side(self, at: int, held: int, pots: Key) -> View:
        """The 46 features of one player."""
        known = self._sides.get((at, held, *pots))
        if known is not None:
            return known
        cell, facing = divmod(at, 4)
        found = [float(facing == i) for i in range(4)]
        found += [float(held == item) for item in (_ONION, _SOUP, _PLATE, 4)]
        for item, kind in ((_ONION, "O"), (4, "T"), (_PLATE, "D")):
            found += (0.0, 0.0) if held == item else self._toward(cell, self._closest(at, self._all(kind)))
        # Soups and free counters: none is within reach of the package's planner, which knows of no counters.
        found += [0.0, 0.0, 3.0 * (held == _SOUP), 0.0]
        found += [*self._toward(cell, self._closest(at, self._all("S"))), 0.0, 0.0]
        left = list(self.pots)
        for _ in range(2):
            pot = self._closest(at, left)
            found += self._pot(cell, pot, pots)
            if pot is not None:
                left.remove(pot)
        found += [float(self.terrain[cell + step] != " ") for step in self.steps]
        known = self._sides[(at, held, *pots)] = np.array(found, np.float32)
        return known

    def _pot(self, cell: int, pot: int | None, pots: Key) -> list[float]:
        if pot is None:
            return [0.0] * 10
        place = 2 * self.pots.index(pot)
        onions, ticks = pots[place : place + 2]
        cooking, ready = 0 <= ticks < COOKED, ticks >= COOKED
        full = cooking or ready or onions == FULL
        flags = [1.0, float(onions == 0), float(full), float(cooking), float(ready), float(onions), 0.0]
        return [*flags, float(max(0, COOKED - ticks)) if ticks >= 0 else 0.0, *self._toward(cell, pot)]

    def _all(self, kind: str) -> list[int]:
        return [cell for cell, found in enumerate(self.terrain) if found == kind]

    def _closest(self, at: int, cells: Sequence[int]) -> int | None:
        costs = self._costs.get(at, {})
        return min((cell for cell in cells if cell in costs), key=lambda cell: costs[cell], default=None)

    def _toward(self, cell: int, to: int | None) -> tuple[float, float]:
        if to is None:
            return 0.0, 0.0
        return float(to % self.wide - cell % self.wide), float(to // self.wide - cell // self.wide)


class Kitchen:
    """One game. ``at`` (cell × 4 + facing) and ``held`` of both players, ``pots`` (onions, ticks; -1: not cooking)."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.begin()

    def begin(self) -> None:
        """Both at their places, facing north, nothing cooked."""
        self.at = [cell * 4 for cell in self.room.starts]
        self.held = [_NOTHING, _NOTHING]
        self.pots = {cell: [0, -1] for cell in self.room.pots}
        self.counters: dict[int, int] = {}

    def key(self, player: int) -> Key:
        """What ``player`` sees depends on this."""
        mine, other = player, 1 - player
        pots = [x for pot in self.pots.values() for x in pot]
        return (self.at[mine], self.held[mine], self.at[other], self.held[other], *pots)

    def step(self, actions: Sequence[int]) -> tuple[float, float]:
        """Both act. What was served, and the reward for what leads to it."""
        served = led = 0.0
        busy = sum(onions > 0 for onions, _ in self.pots.values())
        for player in (0, 1):
            if actions[player] == INTERACT:
                one, two = self._interact(player, busy)
                served, led = served + one, led + two
        self._move(actions)
        for pot in self.pots.values():
            if pot[1] < 0 and pot[0] == FULL:
                pot[1] = 0
            if 0 <= pot[1] < COOKED:
                pot[1] += 1
        return served, led

    def _interact(self, player: int, busy: int) -> tuple[float, float]:
        """``busy`` pots held something before either player acted."""
        cell = self.at[player] // 4 + self.room.steps[self.at[player] % 4]
        kind, held = self.room.terrain[cell], self.held[player]
        if kind == "X":
            if held and cell not in self.counters:
                self.counters[cell], self.held[player] = held, _NOTHING
            elif not held and cell in self.counters:
                self.held[player] = self.counters.pop(cell)
        elif kind == "O" and not held:
            self.held[player] = _ONION
        elif kind == "D" and not held:
            # Paid only where a dish is of use: else a player would be paid for taking dishes all day.
            useful = _PLATE not in self.counters.values() and self.held.count(_PLATE) < busy
            self.held[player] = _PLATE
            return 0.0, DISH * useful
        elif kind == "P":
            return 0.0, self._cook(player, self.pots[cell])
        elif kind == "S" and held == _SOUP:
            self.held[player] = _NOTHING
            return SERVED, 0.0
        return 0.0, 0.0

    def _cook(self, player: int, pot: list[int]) -> float:
        held = self.held[player]
        if held == _PLATE and pot[1] >= COOKED:
            self.held[player], pot[:] = _SOUP, [0, -1]
            return SOUP_TAKEN
        if held == _ONION and pot[1] < 0 and pot[0] < FULL:
            self.held[player], pot[0] = _NOTHING, pot[0] + 1
            return POTTED
        return 0.0

    def _move(self, actions: Sequence[int]) -> None:
        """Who would walk into the other, or swap places with them, stays; both turn all the same."""
        before = [at // 4 for at in self.at]
        facing = [a if a < STAY else at % 4 for a, at in zip(actions, self.at, strict=True)]
        after = list(before)
        for player, action in enumerate(actions):
            if action < STAY and self.room.terrain[before[player] + self.room.steps[action]] == " ":
                after[player] += self.room.steps[action]
        if after[0] == after[1] or after == before[::-1]:
            after = before
        self.at = [cell * 4 + turn for cell, turn in zip(after, facing, strict=True)]


Past = list[tuple[int, int]]
"""Where a player stood and what it did there, in its last four steps."""


class Player:
    """A network that acts (tanh between layers), as plain arrays: its chances are remembered.

    ``unblocked``: as in the paper, a clone that has not moved for three steps does none of what it then tried.
    """

    def __init__(self, layers: Sequence[tuple[NDArray[Any], NDArray[Any]]], *, unblocked: bool = False) -> None:
        self.layers = [(np.asarray(w, np.float32), np.asarray(b, np.float32)) for w, b in layers]
        self._unblocked = unblocked
        self._chances: dict[Key, list[float]] = {}

    def chances(self, room: Room, key: Key) -> list[float]:
        """π(a | what it sees)."""
        known = self._chances.get(key)
        if known is None:
            known = self.of(room.view(key)).tolist()
            if len(self._chances) > _MANY:
                self._chances.clear()
            self._chances[key] = known
        return known

    def of(self, seen: View) -> NDArray[np.float64]:
        """π(a | ``seen``), not remembered."""
        x: Any = seen
        for weight, bias in self.layers[:-1]:
            x = np.tanh(weight @ x + bias)
        logits = (self.layers[-1][0] @ x + self.layers[-1][1]).astype(np.float64)
        grown = np.exp(logits - logits.max())
        chances: NDArray[np.float64] = grown / grown.sum()
        return chances

    def act(self, room: Room, key: Key, past: Past, rng: random.Random) -> int:
        """An action, drawn; ``past`` is brought up to date."""
        chances = self.chances(room, key)
        if not self._unblocked:
            return rng.choices(range(ACTIONS), chances)[0]
        if len(past) == 4 and all(at == key[0] for at, _ in past[1:]):
            tried = {action for _, action in past[1:]}
            chances = [0.0 if action in tried else chance for action, chance in enumerate(chances)]
        action = rng.choices(range(ACTIONS), chances)[0]
        past[:] = [*past[-3:], (key[0], action)]
        return action


class Shift:
    """A Gymnasium environment: one seat of a kitchen, beside a partner. The prompt's number is the seat.

    Reward: soups served (1 each), and ``shaping`` times the package's reward for what leads to them, over 20.
    """

    def __init__(self, room: Room, partner: Player) -> None:
        self.kitchen = Kitchen(room)
        self.partner = partner
        self.shaping = 1.0
        self._rng = random.Random(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[View, dict[str, Any]]:
        """A new game; ``options["prompt"]`` is the seat."""
        self._rng = random.Random(seed)
        self._seat = int((options or {}).get("prompt", 0))
        self._steps, self._past = 0, Past()
        self.kitchen.begin()
        return self._see(), {}

    def step(self, action: int, /) -> tuple[View, float, bool, bool, dict[str, Any]]:
        """Both act."""
        room, other = self.kitchen.room, 1 - self._seat
        answer = self.partner.act(room, self.kitchen.key(other), self._past, self._rng)
        served, led = self.kitchen.step((int(action), answer) if other else (answer, int(action)))
        self._steps += 1
        reward = (served + self.shaping * led) / SERVED
        return self._see(), reward, False, self._steps >= HORIZON, {"served": served}

    def _see(self) -> View:
        return self.kitchen.room.view(self.kitchen.key(self._seat))


def play(room: Room, players: Sequence[Player], games: int, seed: int) -> NDArray[np.float64]:
    """What two players earn together in each of ``games``."""
    earned = np.zeros(games)
    kitchen = Kitchen(room)
    for game in range(games):
        rng = random.Random(f"{seed} {game}")
        kitchen.begin()
        pasts = Past(), Past()
        for _ in range(HORIZON):
            actions = [player.act(room, kitchen.key(i), pasts[i], rng) for i, player in enumerate(players)]
            earned[game] += kitchen.step(actions)[0]
    return earned
