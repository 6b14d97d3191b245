"""Named users: invite one, give another role, shut out, let in again."""

from __future__ import annotations

from typing import Any

from arauto.core.errors import ConflictError, InputError
from arauto.core.people import USER_ROLES
from arauto.dashboard.screen import OWN, Action, Deed, Done, Screen, View
from arauto.dashboard.words import RefusedError


async def values(view: View) -> dict[str, Any]:
    """Everyone, and what they may."""
    return {"users": await view.runtime.store.users.all(), "roles": USER_ROLES}


async def invite(deed: Deed) -> Done:
    """A new user; the link is shown once."""
    users, name = deed.runtime.store.users, deed.form.get("name", "")
    try:
        user, code = await users.invite(name, deed.form.get("role", ""), deed.person.actor)
    except ConflictError:
        raise RefusedError("name_taken", "name", name=name.strip().lower()) from None
    except InputError as fault:
        if fault.field != "name":
            raise
        raise RefusedError("user_name", "name") from None
    return Done(shown={"shown": {"name": user.name, "path": f"/invitation?code={code}"}})


async def again(deed: Deed) -> Done:
    """Another link for somebody."""
    code = await deed.runtime.store.users.invite_again(_user(deed), deed.person.actor)
    return Done(shown={"shown": {"name": deed.form.get("name", ""), "path": f"/invitation?code={code}"}})


async def role(deed: Deed) -> Done:
    """Another role."""
    await deed.runtime.store.users.set_role(_user(deed), deed.form.get("role", ""), deed.person.actor)
    return Done(told="saved")


async def active(deed: Deed) -> Done:
    """Shut out, or let in."""
    await deed.runtime.store.users.set_active(_user(deed), deed.form.get("active") == "yes", deed.person.actor)
    return Done(told="saved")


def _user(deed: Deed) -> int:
    told = deed.form.get("user", "")
    if not told.isdigit() or len(told) > 9:
        raise RefusedError("no_user", "user")
    return int(told)


SCREEN = Screen(
    name="users",
    path=f"{OWN}/users",
    values=values,
    role="admin",
    live=False,
    actions={
        "invite": Action("admin", invite),
        "again": Action("admin", again),
        "role": Action("admin", role),
        "active": Action("admin", active),
    },
)
