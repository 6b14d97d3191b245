"""Shops that are made up: visitors of four tastes, each with its ten items."""

from uuid import UUID

import numpy as np

from arauto.audience import Visitors, code_of, interactions_of, touch_of

DAY_MS = 86_400_000
START = 1_790_000_000_000


def shop(users=80, each=6, seed=0, ordered=False):
    """Columns of a log. User u has taste u % 4 and meets some of its items; when ``ordered``, one after the other."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        met = (rng.integers(10) + np.arange(each)) % 10 if ordered else rng.permutation(10)[:each]
        for step, own in enumerate(met):
            item = (user % 4) * 10 + own
            rows.append((f"u{user:03}", f"i{item:02}", START + step * 1000 + user))
    rng.shuffle(rows)
    names = ("user_id", "item_id", "timestamp")
    return {name: np.array([row[place] for row in rows]) for place, name in enumerate(names)}


def log(**given):
    return interactions_of(shop(**given))


def visitor(number):
    return UUID(int=(number << 64) + 7)


def event(number):
    return UUID(int=number)


def filled(encoder=None, users=80, seed=0, **given):
    """The shop's users as visitors 0, 1, …"""
    visitors = Visitors(encoder, **given)
    columns = shop(users, seed=seed)
    for place, (user, item, at) in enumerate(zip(*columns.values(), strict=True)):
        visitors.names[code_of(item)] = str(item)
        visitors.learn(visitor(int(user[1:])), touch_of(event(place + 1), int(at), "view", code_of(item)))
    return visitors
