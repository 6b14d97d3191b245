"""One's own account: another password, the end of every session."""

from __future__ import annotations

from typing import Any

from arauto.core.errors import ForbiddenError
from arauto.dashboard.screen import OWN, Action, Deed, Done, Screen, View
from arauto.dashboard.words import RefusedError


async def values(view: View) -> dict[str, Any]:
    """The administrator has no password here."""
    return {"named": view.role != "admin"}


async def password(deed: Deed) -> Done:
    """Another password, for who knows the present one. Ends every session, this one too."""
    users, person, form = deed.runtime.store.users, deed.person, deed.form
    if person.id == 0:
        raise ForbiddenError("has no password", field="password")
    if await users.check(person.name, form.get("old", "")) is None:
        raise RefusedError("old_password", "old")
    if form.get("password", "") != form.get("again", ""):
        raise RefusedError("passwords_differ", "again")
    await users.set_password(person.id, form.get("password", ""), person.actor)
    return Done(to="/login")


async def end(deed: Deed) -> Done:
    """End every session of one's own."""
    await deed.runtime.store.users.end_sessions(deed.person.id, deed.person.actor)
    return Done(to="/login")


SCREEN = Screen(
    name="account",
    path=f"{OWN}/account",
    values=values,
    place="none",
    live=False,
    actions={"password": Action("viewer", password), "end": Action("viewer", end)},
)
