"""The table of screens, in the order of the navigation: each a module of this folder, and a template of that name."""

from __future__ import annotations

from arauto.core.people import Person
from arauto.dashboard.screen import Screen
from arauto.dashboard.screens import (
    account,
    archive,
    audit,
    bandit,
    brief,
    campaigns,
    edge,
    experiment,
    federated,
    funnel,
    gallery,
    gpo,
    launch,
    new,
    overview,
    plan,
    policy,
    privacy,
    rollout,
    segments,
    texts,
    users,
)

SCREENS: tuple[Screen, ...] = (
    campaigns.SCREEN,
    new.SCREEN,
    brief.SCREEN,
    texts.SCREEN,
    plan.SCREEN,
    launch.SCREEN,
    overview.SCREEN,
    experiment.SCREEN,
    rollout.SCREEN,
    bandit.SCREEN,
    funnel.SCREEN,
    segments.SCREEN,
    gallery.SCREEN,
    policy.SCREEN,
    gpo.SCREEN,
    federated.SCREEN,
    edge.SCREEN,
    archive.SCREEN,
    privacy.SCREEN,
    audit.SCREEN,
    users.SCREEN,
    account.SCREEN,
)


def house_of(person: Person | None) -> tuple[Screen, ...]:
    """What the page's navigation offers to somebody."""
    if person is None:
        return ()
    return tuple(screen for screen in SCREENS if screen.place == "house" and person.may(screen.role))


def tabs_of(screen: Screen, person: Person) -> tuple[Screen, ...]:
    """What a campaign's navigation offers, on the pages of one."""
    if screen.place != "campaign":
        return ()
    return tuple(one for one in SCREENS if one.place == "campaign" and person.may(one.role))
