"""Ways around the token and around the limit that others' servers fell for."""

import pytest

from arauto.server.limits import Addresses, Limiter

PATHS = [
    "/v1/sites/",
    "//v1/sites",
    "/v1//sites",
    "/v1/./sites",
    "/v1/decide/../sites",
    "/v1/decide%2f..%2fsites",
    "/V1/SITES",
    "/v1/sites;/healthz",
    "/v1/sites%00",
    "/v1/sites?key=x&token=the-token-of-the-test",
    "/healthz/../v1/sites",
    "/metrics/",
    "/metrics%20",
    "/v1/visitors/0f0e0d0c-0000-4000-8000-000000000000/neighbours",
]
HEADERS = [
    {"x-original-url": "/v1/sites"},
    {"x-rewrite-url": "/v1/sites"},
    {"x-http-method-override": "GET"},
    {"x-forwarded-user": "admin"},
    {"x-forwarded-for": "127.0.0.1"},
    {"host": "localhost"},
    {"cookie": "token=the-token-of-the-test"},
    {"authorization": "the-token-of-the-test"},
    {"authorization": "Token the-token-of-the-test"},
    {"proxy-authorization": "Bearer the-token-of-the-test"},
    {"x-authorization": "Bearer the-token-of-the-test"},
    {"authorization": "Bearer the-token-of-the-tes"},
    {"authorization": "Bearer the-token-of-the-test\x00"},
    {"authorization": "Bearer the-token-of-the-test,x"},
]


@pytest.mark.parametrize("path", PATHS)
async def test_no_other_way_to_write_a_path_opens_it(world, path):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await world(method, path)
        # A redirect to the path as it should be written opens nothing either.
        assert answer.status in (204, 307, 308, 401, 403, 404, 405), (method, answer.status, answer.body)
        assert b"pk_" not in answer.body


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: "-".join(headers))
async def test_no_header_but_the_token_opens_a_route(world, headers):
    for path in ("/v1/sites", "/metrics", "/v1/audit"):
        assert (await world("GET", path, headers=headers)).status == 401
    assert (await world("POST", "/v1/sites", {"name": "evil"}, headers)).status == 401
    assert (await world("GET", "/v1/sites", headers=world.admin)).json() == []


async def test_a_limit_is_not_left_by_another_name(world):
    """Nobody is believed who they are; a port, a header, a query, a method or a mistake makes no new allowance."""
    await world.launch()
    world.front._limiter = Limiter(6)
    query = {"key": world.key, "campaign": world.slug}
    spent = [
        await world("POST", "/v1/decide", query, client="198.51.100.9:1"),
        await world("POST", "/v1/decide?a=1", query, client="198.51.100.9:2"),
        await world("POST", "/v1/decide", query, {"x-forwarded-for": "203.0.113.1"}, client="198.51.100.9:3"),
        await world("OPTIONS", "/v1/decide", headers={"origin": "https://evil.example"}, client="198.51.100.9:4"),
        await world("POST", "/v1/events", b"{", client="198.51.100.9:5"),
        await world("GET", "/v1/decide", client="198.51.100.9:6"),
    ]
    assert [answer.status for answer in spent] == [200, 200, 200, 403, 422, 405]
    tricks = ("x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip", "x-client-ip", "via")
    for name in tricks:
        answer = await world("POST", "/v1/decide", query, {name: "203.0.113.77"}, client="198.51.100.9:7")
        assert answer.status == 429, name
    assert (await world("POST", "/v1/decide", query, client="198.51.100.8:1")).status == 200


async def test_a_limited_address_behind_a_proxy_cannot_name_another(world):
    await world.launch()
    world.front._limiter, world.front._addresses = Limiter(2), Addresses(["10.0.0.0/8"])
    query = {"key": world.key, "campaign": world.slug}
    statuses = [
        (
            await world("POST", "/v1/decide", query, {"x-forwarded-for": f"{lie}, 198.51.100.9"}, client="10.0.0.1:9")
        ).status
        for lie in ("1.1.1.1", "2.2.2.2", "10.0.0.7", "nonsense")
    ]
    assert statuses == [200, 200, 429, 429]
