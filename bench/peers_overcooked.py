"""Runs in the peers' environment: the package ``overcooked-ai`` and the games of people that it carries.

The people's games are a pickle. It is read by an unpickler that knows the frame's classes, and has
plain holders for those of pandas. What leaves this process are arrays and JSON.
"""

from __future__ import annotations

import ast
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

LAYOUTS = {"counter_circuit": "counter_circuit_o_1order"}
"""Where the package's layout is called otherwise than the paper's."""
LOGGED = {"forced_coordination": "random0", "counter_circuit": "random3"}
"""Where the people's games are."""


def main(question: Path, answer: Path) -> None:
    """What ``given["ask"]`` asks for, of one layout."""
    arrays = np.load(question)
    given = json.loads(str(arrays["given"]))
    game = Game(given["layout"])
    found = {"room": room, "games": games, "compare": compare, "judge": judge}[given["ask"]](game, given, arrays)
    answer.write_text(json.dumps(found), "utf-8")


class Game:
    """The package's game by the rules of 2019: three onions cook by themselves (the package waits for a hand)."""

    def __init__(self, layout: str) -> None:
        _stand_in()
        from overcooked_ai_py.mdp.actions import Action, Direction  # type: ignore[import-not-found]
        from overcooked_ai_py.mdp.overcooked_mdp import OvercookedGridworld  # type: ignore[import-not-found]
        from overcooked_ai_py.planning.planners import MotionPlanner  # type: ignore[import-not-found]

        class Rules2019(OvercookedGridworld):  # type: ignore[misc]
            def soup_to_be_cooked_at_location(self, *_: Any) -> bool:
                return False

            def step_environment_effects(self, state: Any) -> None:
                for found in state.objects.values():
                    if found.name == "soup" and found.is_idle and len(found.ingredients) == 3:
                        found.begin_cooking()
                super().step_environment_effects(state)

        self.layout = layout
        self.mdp = OvercookedGridworld.from_layout_name(LAYOUTS.get(layout, layout))
        self.mdp.__class__ = Rules2019
        self.actions, self.directions = Action.INDEX_TO_ACTION, Direction.INDEX_TO_DIRECTION
        # Computed here: the package would keep it beside itself, as a pickle.
        self.planner = MotionPlanner(self.mdp)

    def begin(self) -> Any:
        return self.mdp.get_standard_start_state()

    def step(self, state: Any, both: Any) -> tuple[Any, float, float]:
        """The next state, what was served, and the reward for what leads to it."""
        after, told = self.mdp.get_state_transition(state, tuple(self.actions[a] for a in both))
        return after, float(sum(told["sparse_reward_by_agent"])), float(sum(told["shaped_reward_by_agent"]))

    def see(self, state: Any) -> list[np.ndarray]:
        """Both players' features."""
        planner = types.SimpleNamespace(motion_planner=self.planner)
        return [np.asarray(x, np.float32) for x in self.mdp.featurize_state(state, planner)]


def _stand_in() -> None:
    """The package asks for Gym, to register with it, and for a name that NumPy 2 dropped; neither is used here."""
    gym, envs, registration = (types.ModuleType(name) for name in ("gym", "gym.envs", "gym.envs.registration"))
    gym.Env, gym.spaces = object, types.SimpleNamespace()  # type: ignore[attr-defined]
    registration.register = lambda **_: None  # type: ignore[attr-defined]
    sys.modules.update({"gym": gym, "gym.envs": envs, "gym.envs.registration": registration})
    if not hasattr(np, "Inf"):
        np.Inf = np.inf


def room(game: Game, *_: Any) -> dict[str, Any]:
    """The layout, and the steps from each place to each thing."""
    mdp, wide = game.mdp, game.mdp.width
    costs: dict[int, dict[int, int]] = {}
    things = [at for kind, cells in mdp.terrain_pos_dict.items() if kind != " " for at in cells]
    for (x, y), facing in mdp.get_valid_player_positions_and_orientations():
        row = costs.setdefault(4 * (x + y * wide) + game.directions.index(facing), {})
        for thing in things:
            cost = game.planner.min_cost_to_feature(((x, y), facing), [thing])
            if np.isfinite(cost):
                row[thing[0] + thing[1] * wide] = int(cost)
    return {"rows": ["".join(row) for row in mdp.terrain_mtx], "starts": mdp.start_player_positions, "costs": costs}


def games(game: Game, given: dict[str, Any], _: Any) -> dict[str, Any]:
    """People's games as arrays (``given["to"]``/train.npz and test.npz): what each player saw and did.

    Every step is also played by the package, from the state that was logged: where it leads elsewhere is counted.
    """
    found: dict[str, Any] = {}
    for part in ("train", "test"):
        columns: dict[str, list[Any]] = {"seen": [], "action": [], "episode": []}
        totals, firsts, wrong, steps = [], [], 0, 0
        for number, trial in enumerate(trials(LOGGED.get(game.layout, game.layout), part)):
            states = [state_of(game, row["state"]) for row in trial]
            did = [[action_of(game, a) for a in row["joint_action"]] for row in trial]
            paid = [row["reward_norm"] for row in trial]
            for t, (state, both) in enumerate(zip(states, did, strict=True)):
                for seat, seen in enumerate(game.see(state)):
                    columns["seen"].append(seen)
                    columns["action"].append(both[seat])
                    columns["episode"].append(2 * number + seat)
                if t + 1 < len(states):
                    after, served, _ = game.step(state, both)
                    wrong += not (same(after, states[t + 1]) and served == paid[t])
                    steps += 1
            totals.append(sum(paid))
            firsts.append(sum(paid[:400]))
        kinds = {"seen": np.float32, "action": np.int64, "episode": np.int64}
        np.savez(Path(given["to"]) / f"{part}.npz", **{k: np.array(v, kinds[k]) for k, v in columns.items()})
        found[part] = {"totals": totals, "first_400": firsts, "steps": steps, "steps_played_otherwise": wrong}
    return found


def compare(game: Game, _: Any, arrays: Any) -> dict[str, int]:
    """Our games again in the package's: steps whose reward or features are not the same."""
    wrong_seen = wrong_paid = 0
    for actions, seen, paid in zip(arrays["actions"], arrays["seen"], arrays["paid"], strict=True):
        state = game.begin()
        for both, mine, (served, led) in zip(actions, seen, paid, strict=True):
            wrong_seen += not all(np.array_equal(a, b) for a, b in zip(game.see(state), mine, strict=True))
            state, *theirs = game.step(state, both)
            wrong_paid += theirs != [served, led]
    return {"steps": int(arrays["paid"][..., 0].size), "seen_otherwise": wrong_seen, "paid_otherwise": wrong_paid}


def judge(game: Game, given: dict[str, Any], arrays: Any) -> dict[str, Any]:
    """What pairs of our networks earn in the package's own game, 400 steps each."""
    sys.path.append(str(Path(__file__).parent.parent))
    import random

    from bench.kitchen import HORIZON, Player

    class Views:
        """The package's features as a room's."""

        def view(self, key: Any) -> np.ndarray:
            return np.asarray(key.seen / arrays["scale"], np.float32)

    class Key(tuple):
        seen: np.ndarray

    def player(name: str, unblocked: bool) -> Player:
        layers = [(arrays[f"{name}.{i}.weight"], arrays[f"{name}.{i}.bias"]) for i in (0, 2, 4)]
        return Player(layers, unblocked=unblocked)

    earned = []
    for pair in given["pairs"]:
        players = [player(name, unblocked) for name, unblocked in pair]
        totals = []
        for number in range(given["games"]):
            rng, state, total, pasts = random.Random(f"{given['seed']} {number}"), game.begin(), 0.0, ([], [])
            for _ in range(HORIZON):
                both = []
                for seat, seen in enumerate(game.see(state)):
                    me = state.players[seat]
                    # Only what tells one view from another: the features themselves.
                    key = Key([(me.position, me.orientation), *seen.tolist()])
                    key.seen = seen
                    both.append(players[seat].act(Views(), key, pasts[seat], rng))
                state, served, _ = game.step(state, both)
                total += served
            totals.append(total)
        earned.append(totals)
    return {"earned": earned}


def trials(layout: str, part: str) -> list[list[dict[str, Any]]]:
    """The games of people on ``layout``: one row a step, in order."""
    import overcooked_ai_py  # type: ignore[import-not-found]

    path = Path(overcooked_ai_py.__file__).parent / "data" / "human_data" / f"clean_{part}_trials.pickle"
    with path.open("rb") as file:
        frame = _Reader(file).load()
    manager = frame.state["_data"].state
    names = list(manager[0][0].state["data"])
    column = {}
    for block in manager[3]["0.14.1"]["blocks"]:
        places = block["mgr_locs"]
        places = range(*places.indices(len(names))) if isinstance(places, slice) else places
        column.update({names[place]: values for place, values in zip(places, block["values"], strict=True)})
    wanted = np.flatnonzero(column["layout_name"] == layout)
    by_pair: dict[int, list[int]] = {}
    for row in wanted.tolist():
        by_pair.setdefault(int(column["workerid_num"][row]), []).append(row)
    keep = ("state", "joint_action", "reward_norm", "cur_gameloop")
    return [[{name: plain(column[name][row]) for name in keep} for row in rows] for rows in by_pair.values()]


def plain(value: Any) -> Any:
    """States and actions are written as Python literals: read as data, never run."""
    return ast.literal_eval(value) if isinstance(value, str) else value


class _Held:
    """In place of a class of pandas: keeps what was stored."""

    state: Any

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _index(_: Any, stored: Any) -> _Held:
    held = _Held()
    held.state = stored
    return held


class _Reader(pickle.Unpickler):
    """Knows the frame's classes, and no others."""

    _KNOWN = {  # noqa: RUF012
        ("pandas.core.indexes.base", "_new_Index"): _index,
        ("pandas.core.indexes.base", "Index"): _Held,
        ("pandas.core.indexes.numeric", "Int64Index"): _Held,
        ("pandas.core.frame", "DataFrame"): _Held,
        ("pandas.core.internals.managers", "BlockManager"): _Held,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.core.multiarray._reconstruct if np.__version__ < "2" else np._core.multiarray._reconstruct
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not of a frame")
        return self._KNOWN[module, name]


def action_of(game: Game, logged: Any) -> int:
    """The number of a logged action."""
    return game.actions.index("interact" if isinstance(logged, str) else tuple(logged))


def state_of(game: Game, logged: dict[str, Any]) -> Any:
    """A logged state as the package's."""
    from overcooked_ai_py.mdp.overcooked_mdp import (  # type: ignore[import-not-found]
        ObjectState,
        OvercookedState,
        PlayerState,
        SoupState,
    )

    def thing(found: dict[str, Any]) -> Any:
        at = tuple(found["position"])
        if found["name"] != "soup":
            return ObjectState(found["name"], at)
        _, onions, ticks = found["state"]
        # The page counted on after a soup was done.
        ticks = min(ticks, 20) if onions == 3 else -1
        return SoupState.get_soup(at, num_onions=onions, cooking_tick=ticks)

    players = [
        PlayerState(
            tuple(p["position"]), tuple(p["orientation"]), thing(p["held_object"]) if "held_object" in p else None
        )
        for p in logged["players"]
    ]
    objects = {tuple(found["position"]): thing(found) for found in logged["objects"].values()}
    begun = game.begin()
    return OvercookedState(players, objects, all_orders=[r.to_dict() for r in begun.all_orders])


def same(one: Any, two: Any) -> bool:
    """Whether two states are, but for the clock."""
    one = one.deepcopy()
    one.timestep = two.timestep
    return bool(one == two)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
