"""Who may ask `imgdb serve`: only who has the token, by its own name, from its own pages."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from http.cookies import SimpleCookie

import pytest
from fastapi.routing import iter_route_contexts
from serving import HOST, Served
from starlette.responses import Response

from imgdb.errors import UsageError
from imgdb.serve.app import application
from imgdb.serve.run import listen
from imgdb.serve.security import Guard, Keys, is_loopback

PRIVATE = {
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cache-control",
    "cross-origin-resource-policy",
    "cross-origin-opener-policy",
}


# They take a picture, and keep nothing.
SEARCHES = {"/find", "/api/search", "/api/parts", "/api/hash"}


def every_route():
    """Return method and path of all that the application answers, as the application lists it."""
    routes = iter_route_contexts(application(None).routes)
    found = {
        (one, re.sub(r"{[^}]*}", "1", route.path)) for route in routes for one in route.methods
    }
    assert len(found) > 14
    return sorted(found)


ROUTES = pytest.mark.parametrize(
    ("method", "path"), every_route(), ids=lambda word: word.strip("/").replace("/", "-") or "root"
)


def cookie(served):
    """Return the cookie that the address brings, as a browser sends it."""
    reply = served.get("/?token=" + served.token, token=None)
    assert (reply.status, reply.headers["location"], reply.body) == (303, "/", b"")
    return reply.headers["set-cookie"].partition(";")[0]


def refused(reply, status):
    assert reply.status == status, reply.body
    assert len(reply.body) < 300  # nothing but why
    assert {name.lower() for name in reply.headers} >= PRIVATE
    assert reply.headers["cache-control"] == "no-store"


@ROUTES
def test_every_route_refuses_strangers(served, method, path):
    refused(served.ask(method, path, b"", token=None), 401)
    refused(served.ask(method, path, b"", token="wrong"), 401)
    refused(served.ask(method, path, b"", token=None, Cookie=f"imgdb-{served.port}=wrong"), 401)
    refused(
        served.ask(method, path, b"", token=None, Cookie=f"imgdb-{served.port}={served.token}"), 401
    )
    refused(served.ask(method, f"{path}?token=wrong", b"", token=None), 401)
    # The right cookie does not mend a wrong token.
    refused(served.ask(method, path, b"", token="wrong", Cookie=cookie(served)), 401)


@ROUTES
def test_every_route_refuses_other_names(served, method, path):
    """A name of somebody else that leads here is how a page gets around the same-origin rule."""
    for name in (
        "evil.example",
        f"evil.example:{served.port}",
        "127.0.0.1.evil.example",
        "",
        "[::1",
    ):
        refused(served.ask(method, path, b"", Host=name), 421)
    good = {"Host": f"localhost:{served.port}", "Cookie": cookie(served)}
    assert served.ask(method, path, b"", **good).status != 421


@ROUTES
def test_every_route_refuses_pages_of_others(served, method, path):
    mine = cookie(served)
    for origin in (
        "http://evil.example",
        "null",
        f"http://{HOST}:1",
        f"https://{HOST}.evil.example",
    ):
        refused(served.ask(method, path, b"", Origin=origin), 403)
        refused(served.ask(method, path, b"", token=None, Cookie=mine, Origin=origin), 403)
    for site in ("cross-site", "same-site"):
        given = {"Cookie": mine, "Sec-Fetch-Site": site}
        refused(served.ask(method, path, b"", token=None, **given), 403)


@ROUTES
def test_a_browser_that_does_not_say_where_it_is_changes_nothing(served, method, path):
    reply = served.ask(method, path, b"", token=None, Cookie=cookie(served))
    if method in ("GET", "HEAD"):
        assert reply.status not in (401, 403)
    else:
        refused(reply, 403)
        own = served.ask(method, path, b"", token=None, Cookie=cookie(served), Origin=served.origin)
        assert own.status not in (401, 403, 421)


def test_the_token_leaves_the_address(served):
    reply = served.get(f"/?hash=phash&token={served.token}&x=%26", token=None)
    assert (reply.status, reply.headers["location"]) == (303, "/?hash=phash&x=%26")
    (made,) = SimpleCookie(reply.headers["set-cookie"]).values()
    assert made.key == f"imgdb-{served.port}"
    assert (made["httponly"], made["samesite"].lower(), made["path"]) == (True, "strict", "/")
    assert served.token not in made.value
    assert served.get("/", token=None, Cookie=f"{made.key}={made.value}").status == 200
    # An address is no way around the header for programs, nor to another server.
    assert served.get(f"/api/health?token={served.token}", token=None).status == 401
    away = served.get(f"//evil.example/?token={served.token}", token=None)
    assert away.headers["location"] == "/evil.example/"


def test_a_key_that_others_may_see_opens_once():
    keys = Keys("t" * 43)
    once = keys.make_once()
    assert keys.opens(once) and not keys.opens(once)
    assert keys.opens(keys.token) and keys.opens(keys.token)
    assert keys.token not in keys.cookie


def test_pages_may_load_nothing_but_their_own(served):
    reply = served.get("/")
    (policy,) = re.findall(rb'Content-Security-Policy" content="([^"]*)"', reply.body)
    rules = dict(rule.split(" ", 1) for rule in policy.decode().replace("&#39;", "'").split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert (rules["img-src"], rules["connect-src"]) == ("'self' data:", "'self'")
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind])
    assert reply.headers["content-security-policy"] == "frame-ancestors 'none'"
    api = served.get("/api/health").headers
    assert api["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert api["x-content-type-options"] == "nosniff"
    assert "server" not in {name.lower() for name in api}
    assert "access-control-allow-origin" not in {name.lower() for name in api}


KEYS = Keys("t" * 43)
ME = "host: localhost:8"
GIVEN = f"authorization: Bearer {KEYS.token}"
COOKIE = f"cookie: imgdb-8={KEYS.cookie}"
OWN = "origin: http://localhost:8"


def guarded(request, *headers, kind="http"):
    """Return what the guard alone sends: a status of 200 where it lets a request through."""
    method, _, address = request.partition(" ")
    path, _, query = address.partition("?")
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [tuple(one.encode("latin-1").split(b": ", 1)) for one in headers],
    }
    guard = Guard(Response(), keys=KEYS, names={"localhost"}, port=8)
    asyncio.run(guard(scope, None, send))
    return sent[0]


@pytest.mark.parametrize(
    ("status", "request_line", "headers"),
    [
        (200, "GET /", [ME, GIVEN]),
        (200, "GET /", ["host: LOCALHOST", "authorization: bearer  " + KEYS.token]),
        (200, "POST /", [ME, COOKIE, OWN]),
        (200, "POST /", [ME, "cookie: a=b; imgdb-8=tossed", COOKIE, "sec-fetch-site: same-origin"]),
        (401, "GET /", [ME, "authorization: Bearer "]),
        (401, "GET /", [ME, GIVEN[:-1]]),
        (401, "GET /", [ME, GIVEN + "t"]),
        (401, "GET /", [ME, f"authorization: Basic {KEYS.token}"]),
        (401, "GET /", [ME, GIVEN, "authorization: Bearer x"]),
        (401, "GET /", [ME, "authorization: Bearer x", GIVEN]),
        (401, "GET /", [ME, "authorization: Bearer \xff"]),
        (401, "GET /", [ME, f"cookie: imgdb-9={KEYS.cookie}"]),
        (401, "GET /", [ME, COOKIE[:-1]]),
        (401, "GET /", [ME, "cookie: imgdb-8="]),
        (401, f"POST /find?token={KEYS.token}", [ME, OWN]),
        (401, f"GET /?token=wrong&token={KEYS.token}", [ME]),
        (401, "GET /?token=", [ME]),
        (403, "POST /", [ME, COOKIE, "sec-fetch-site: none"]),
        (403, "POST /", [ME, COOKIE, OWN, "sec-fetch-site: cross-site"]),
        (403, "GET /", [ME, GIVEN, "origin: evil://localhost:8"]),
        (403, "GET /", [ME, GIVEN, OWN, "origin: http://evil.example"]),
        (403, "GET /", [ME, GIVEN, "origin: http://localhost:8.evil.example"]),
        (421, "GET /", [GIVEN]),
        (421, "GET /", [ME, "host: evil.example", GIVEN]),
        (421, "GET /", ["host: evil-localhost", GIVEN]),
        (421, "GET /", ["host: localhost.", GIVEN]),
        (421, "GET /", ["host: localhost:8/evil", GIVEN]),
        (421, "GET /", ["host: me@localhost", GIVEN]),
    ],
)
def test_one_header_too_many_or_too_few_is_refused(status, request_line, headers):
    assert guarded(request_line, *headers)["status"] == status


def test_there_are_no_websockets():
    assert guarded("GET /", ME, GIVEN, kind="websocket")["type"] == "websocket.close"


def test_what_is_no_request_fills_no_log(served):
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n"
    for lines in (f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}", "no request\x1b[31m\r\n"):
        with socket.create_connection((HOST, served.port), timeout=60) as connection:
            connection.sendall(f"{lines}\r\n".encode())
            assert connection.recv(100).split()[1] in (b"400", b"401")
    assert served.command.process.output()[1] == b""


def test_a_reader_changes_nothing(filled):
    """Whatever is not a search needs --allow-changes: every route, as the application lists it."""
    with Served(filled) as careful:
        for method, path in every_route():
            if method in ("GET", "HEAD") or path in SEARCHES:
                continue
            reply = careful.ask(method, path + "?id=x", b"")
            assert (reply.status, "--allow-changes" in reply.json["detail"]) == (403, True), path
        assert "verdicts" not in careful.get("/review/pair").body.decode()


def test_no_path_leads_to_a_file(served, pictures):
    for path in (
        f"/api/images/{pictures}/lake.png/thumbnail",
        "/api/images/..%2f..%2fetc%2fpasswd/thumbnail",
        "/../../etc/passwd",
        "/api/images/1/thumbnail/../../../etc/passwd",
    ):
        reply = served.get(path)
        assert reply.status in (400, 404) and b"root:" not in reply.body


def test_another_address_needs_a_token_of_ones_own(cli, filled, tmp_path):
    result = cli("serve", "--host", "0.0.0.0", "--port", "0", dsn=filled)
    assert (result.code, "--token-file" in result.stderr) == (2, True)
    short = tmp_path / "short"
    short.write_text("password\n")
    result = cli("serve", "--host", "0.0.0.0", "--token-file", short, "--port", "0", dsn=filled)
    assert (result.code, "32 characters" in result.stderr) == (2, True)
    token = tmp_path / "token"
    token.write_text("k" * 40 + "\n")
    options = ("--host", "0.0.0.0", "--token-file", token, "--name", "pictures.example")
    with Served(filled, *options) as open_server:
        assert "token" not in open_server.address
        assert open_server.get("/api/health", token="k" * 40).status == 200
        named = open_server.get("/api/health", token="k" * 40, Host="pictures.example")
        assert named.status == 200
        assert open_server.get("/api/health", token="k" * 40, Host="other.example").status == 421
        assert open_server.get("/api/health", token=None).status == 401


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("localhost.example", False)],
)  # fmt: skip
def test_which_addresses_are_of_this_machine_only(host, only_here):
    assert is_loopback(host) is only_here


def test_an_address_that_is_taken_is_named():
    with listen(HOST, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port}: Address already in use; --port"):
            listen(HOST, port)


def test_without_the_extra_the_command_says_what_to_install():
    code = "import sys; sys.modules['fastapi'] = None; from imgdb.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve"],
        env={**os.environ, "IMGDB_DSN": "host=/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install '.[serve]'" in done.stderr


def test_no_answer_waits_for_who_confirms_its_first_packet():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
