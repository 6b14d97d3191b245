"""Who may do what: every role at every route, sessions that end, forms from elsewhere."""

import re

import httpx
import pytest

from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.people import ROLES, USER_ROLES, Person
from arauto.dashboard import SESSION_COOKIE, create_dashboard
from arauto.dashboard.access import table
from arauto.dashboard.sessions import Sessions
from tests.dashboard.conftest import HOST
from tests.dashboard.test_app import launch

FROM_HERE = {"Origin": HOST}
PASSWORD = "four plain words here"


@pytest.fixture
def cheap(monkeypatch):
    """Passwords that cost little to weigh."""
    monkeypatch.setattr("arauto.store.users._COST", 2)


@pytest.fixture
async def people(runtime, cheap):
    """A session cookie for each role, and for nobody."""
    sessions = Sessions(runtime.store, runtime.clock)
    cookies = {None: "", "admin": await sessions.make()}
    for role in USER_ROLES:
        _, code = await runtime.store.users.invite(f"{role}@shop.example", role, "test")
        cookies[role] = await sessions.make(await runtime.store.users.join(code, PASSWORD))
    return cookies


async def browser(runtime, cookie=""):
    transport = httpx.ASGITransport(create_dashboard(runtime), raise_app_exceptions=True)
    cookies = {SESSION_COOKIE: cookie} if cookie else {}
    return httpx.AsyncClient(
        transport=transport, base_url=HOST, headers={"Accept-Language": "en"}, cookies=cookies, follow_redirects=False
    )


def may(role, asked):
    return role is not None and ROLES.index(role) >= ROLES.index(asked)


async def test_each_role_may_what_the_table_says_and_no_more(runtime, people):
    campaign = await launch(runtime)
    closed = [(path, method, entry) for (path, method), entry in table().items() if entry.role is not None]
    assert len(closed) > 10
    for role, cookie in people.items():
        async with await browser(runtime, cookie) as web:
            for path, method, entry in closed:
                where = re.sub(r"\{\w+:int\}", str(campaign.id), path)
                # An action with an empty form is refused after the gate, or changes little: what counts is the gate.
                if entry.kind == "action" and may(role, entry.role):
                    continue
                answer = await web.request(method, where, headers=FROM_HERE if method == "POST" else {})
                told = (role, method, where, answer.status_code)
                if may(role, entry.role):
                    # The campaign has no kit, hence no asset.
                    assert answer.status_code == (404 if entry.name == "asset" else 200), told
                elif role is None:
                    assert answer.status_code == 401 if entry.kind == "live" else 303, told
                    assert answer.headers.get("location", "/login") == "/login", told
                else:
                    assert answer.status_code == 403, told
                    assert "Not with your role" in answer.text


async def test_what_a_role_may_not_do_it_is_not_offered(runtime, people):
    known = table()
    campaign = await launch(runtime)
    for role, cookie in people.items():
        if role is None:
            continue
        async with await browser(runtime, cookie) as web:
            for (path, _), entry in known.items():
                if entry.kind != "page" or not may(role, entry.role):
                    continue
                page = await web.get(re.sub(r"\{\w+:int\}", str(campaign.id), path))
                for action in re.findall(r'<form method="post" action="([^"]+)"', page.text):
                    asked = known[re.sub(r"/\d+(/|$)", r"/{id:int}\1", action), "POST"]
                    assert asked.role is None or may(role, asked.role), (role, path, action)
                for link in re.findall(r'href="(/dashboard[^"?#]*)', page.text):
                    if "/static/" in link:
                        continue
                    asked = known[re.sub(r"/\d+(/|$)", r"/{id:int}\1", link), "GET"]
                    assert asked.role is None or may(role, asked.role), (role, path, link)


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://arauto.test.evil.example"])
async def test_no_action_is_taken_from_another_page(runtime, people, origin):
    headers = {} if origin is None else {"Origin": origin}
    async with await browser(runtime, people["admin"]) as web:
        before = await runtime.store.catalogue.audit_log()
        for path, method in table():
            if method == "POST":
                answer = await web.post(path.replace("{id:int}", "1"), data={"user": "1"}, headers=headers)
                assert answer.status_code == 403, path
        same = await web.post("/dashboard/account/end", headers=FROM_HERE | {"Sec-Fetch-Site": "cross-site"})
        assert same.status_code == 403
        assert await runtime.store.catalogue.audit_log() == before


async def test_a_person_joins_signs_in_and_is_shut_out(runtime, people, cheap):
    async with await browser(runtime, people["admin"]) as admin, await browser(runtime) as web:
        made = await admin.post(
            "/dashboard/users/invite", data={"name": "Ana@Shop", "role": "editor"}, headers=FROM_HERE
        )
        path = re.search(r"/invitation\?code=[\w-]+", made.text).group()
        assert "ana@shop" in made.text
        assert "Welcome" in (await web.get(path)).text
        code = path.partition("=")[2]
        form = {"code": code, "password": PASSWORD, "again": PASSWORD}
        for bad, problem in (("again", "not the same"), ("short", "12 to 200")):
            wrong = form | ({"again": "x"} if bad == "again" else {"password": "x", "again": "x"})
            answer = await web.post("/invitation", data=wrong, headers=FROM_HERE)
            assert (answer.status_code, problem in answer.text) == (422, True)
        assert (await web.post("/invitation", data=form, headers=FROM_HERE)).status_code == 200
        assert (await web.get("/dashboard")).status_code == 200
        assert (await web.get("/dashboard/users")).status_code == 403
        assert (await web.get(path)).status_code == 401, "used up"
        (ana,) = [user for user in await runtime.store.users.all() if user.name == "ana@shop"]
        await admin.post("/dashboard/users/active", data={"user": ana.id, "active": "no"}, headers=FROM_HERE)
        runtime.clock.advance(1_000)
        assert (await web.get("/dashboard")).status_code == 303
        wrong = await web.post("/login", data={"name": "ana@shop", "password": PASSWORD}, headers=FROM_HERE)
        assert wrong.status_code == 401
        await admin.post("/dashboard/users/active", data={"user": ana.id, "active": "yes"}, headers=FROM_HERE)
        again = await web.post("/login", data={"name": " Ana@Shop ", "password": PASSWORD}, headers=FROM_HERE)
        assert again.status_code == 200
        assert (await web.get("/dashboard")).status_code == 200
        actors = {(entry.actor, entry.action) for entry in await runtime.store.catalogue.audit_log()}
        assert {("dashboard", "user.invite"), ("user:ana@shop", "user.join"), ("dashboard", "user.off")} <= actors


async def test_another_role_or_password_ends_the_sessions(runtime, people, cheap):
    async with await browser(runtime, people["admin"]) as admin, await browser(runtime, people["viewer"]) as viewer:
        (user,) = [one for one in await runtime.store.users.all() if one.role == "viewer"]
        saved = await admin.post("/dashboard/users/role", data={"user": user.id, "role": "editor"}, headers=FROM_HERE)
        assert saved.headers["location"] == "/dashboard/users?done=saved"
        assert "Saved." in (await admin.get(saved.headers["location"])).text
        runtime.clock.advance(1_000)
        assert (await viewer.get("/dashboard")).status_code == 303
        await viewer.post("/login", data={"name": user.name, "password": PASSWORD}, headers=FROM_HERE)
        form = {"old": "wrong", "password": "other words than before", "again": "other words than before"}
        refused = await viewer.post("/dashboard/account/password", data=form, headers=FROM_HERE)
        assert (refused.status_code, "not your present password" in refused.text) == (422, True)
        differ = await viewer.post(
            "/dashboard/account/password", data=form | {"old": PASSWORD, "again": "x"}, headers=FROM_HERE
        )
        assert "not the same" in differ.text
        done = await viewer.post("/dashboard/account/password", data=form | {"old": PASSWORD}, headers=FROM_HERE)
        assert done.headers["location"] == "/login"
        assert (await viewer.get("/dashboard")).status_code == 303
        await admin.post("/dashboard/account/end", headers=FROM_HERE)
        assert (await admin.get("/dashboard")).status_code == 303, "the administrator's, too"


async def test_a_new_invitation_replaces_password_and_sessions(runtime, people, cheap):
    (user,) = [one for one in await runtime.store.users.all() if one.role == "approver"]
    async with await browser(runtime, people["admin"]) as admin, await browser(runtime, people["approver"]) as web:
        page = await admin.post("/dashboard/users/again", data={"user": user.id, "name": user.name}, headers=FROM_HERE)
        assert "/invitation?code=" in page.text
        runtime.clock.advance(1_000)
        assert (await web.get("/dashboard")).status_code == 303
        assert await runtime.store.users.check(user.name, PASSWORD) is None
        nobody = await admin.post("/dashboard/users/again", data={"user": "x"}, headers=FROM_HERE)
        assert (nobody.status_code, "No user was chosen" in nobody.text) == (422, True)
        portuguese = await admin.post("/dashboard/users/again?lang=pt-BR", data={"user": "x"}, headers=FROM_HERE)
        assert "Nenhum usuário foi escolhido" in portuguese.text


async def test_users_are_checked(runtime, cheap):
    users = runtime.store.users
    await users.invite("a@b.example", "viewer", "test")
    with pytest.raises(ConflictError):
        await users.invite("a@b.example", "viewer", "test")
    for name in ("", "two words", "é", "x" * 65, "a\n"[:1] + "\x00", "<b>"):
        with pytest.raises(InputError):
            await users.invite(name, "viewer", "test")
    for role in ("admin", "", "owner"):
        with pytest.raises(InputError):
            await users.invite("other", role, "test")
    with pytest.raises(NotFoundError):
        await users.set_role(999, "viewer", "test")
    user, code = await users.invite("late", "viewer", "test")
    assert not user.joined
    runtime.clock.advance(7 * 86_400_000)
    assert await users.join(code, PASSWORD) is None
    rows = await users._database.fetch("SELECT name, password, invitation FROM users")
    assert all(code.encode() != (row["invitation"] or b"") for row in rows)


async def test_a_password_is_weighed_by_scrypt(runtime):
    """At the cost that OWASP names; and two of the same do not look the same."""
    users = runtime.store.users
    sealed = []
    for name in ("one", "two"):
        _, code = await users.invite(name, "viewer", "test")
        await users.join(code, PASSWORD)
    for row in await users._database.fetch("SELECT password FROM users"):
        kind, cost, block, lanes, *_ = row["password"].split("$")
        assert (kind, int(cost), int(block), int(lanes)) == ("scrypt", 2**15, 8, 3)
        sealed.append(row["password"])
    assert sealed[0] != sealed[1]
    assert await users.check("one", PASSWORD) is not None
    assert await users.check("one", PASSWORD + "x") is None
    assert await users.check("nobody", PASSWORD) is None


def test_who_may_what():
    assert [Person(1, "a", "editor").may(role) for role in ROLES] == [True, True, False, False]
    assert (Person(1, "a", "editor").actor, Person(0, "admin", "admin").actor) == ("user:a", "dashboard")
