"""Who may do what: the roles of named users, each of which may do all that the one before may."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Role = Literal["viewer", "editor", "approver", "admin"]
"""``viewer`` looks; ``editor`` also makes and changes; ``approver`` also releases, and answers visitors' requests;
``admin`` (whoever has the token) also says who the others are."""
UserRole = Literal["viewer", "editor", "approver"]
"""What a named user can be."""
UserName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}\Z")]
"""A name to sign in with: an address of mail, or a short name. In lower case."""

ROLES: tuple[Role, ...] = get_args(Role)
USER_ROLES: tuple[UserRole, ...] = get_args(UserRole)


def may(role: Role, asked: Role) -> bool:
    """Whether what asks for ``asked`` is open to ``role``."""
    return ROLES.index(role) >= ROLES.index(asked)


class Person(msgspec.Struct, frozen=True):
    """Somebody who signed in. ``id`` is 0 for the administrator."""

    id: int
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether what asks for ``role`` is open to them."""
        return may(self.role, role)

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"user:{self.name}" if self.id else "dashboard"
