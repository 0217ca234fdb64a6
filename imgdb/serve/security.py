"""Who may ask: only who has the token, by the server's own name, and from its own pages.

A page of anybody else that is open in the same browser can send requests here, and a name of its
own can lead here (DNS rebinding). So every request is checked, before any route is known.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Names that lead nowhere but to this machine.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:]+))(?::[0-9]*)?")

SAFE_METHODS = frozenset({"GET", "HEAD"})

# A page says more precisely what it may load; nothing else may load anything.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the server: `token` in a header or an address, in a browser a cookie made of it.

    `once` are for an address that others may see, as a browser's command line: each opens once.
    """

    token: str
    once: set[str] = field(default_factory=set)

    @property
    def cookie(self) -> str:
        # Cookies go to all ports of a machine: what another server sees there is not the token.
        return hmac.new(self.token.encode(), b"cookie", hashlib.sha256).hexdigest()

    def make_once(self) -> str:
        """Return a key that opens once."""
        made = secrets.token_urlsafe(32)
        self.once.add(made)
        return made

    def opens(self, given: str) -> bool:
        """Tell whether what stands in an address opens the server."""
        for key in self.once:
            if _same(given, key):
                self.once.discard(key)
                return True
        return _same(given, self.token)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Guard:
    """The outermost layer of the application; `names` are those of the server, without ports."""

    def __init__(self, app: ASGIApp, *, keys: Keys, names: Collection[str], port: int) -> None:
        self._app = app
        self._keys = keys
        self._names = frozenset(name.lower() for name in names)
        self._cookie = f"imgdb-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route is one of websockets
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            login = self._check(scope)
        except _Refused as refused:
            await _refusal(scope, refused)(scope, receive, send_safely)
            return
        await (login or self._app)(scope, receive, send_safely)

    def _check(self, scope: Scope) -> Response | None:
        """Raise _Refused, or return how to go on with a cookie where a token stands in the URL."""
        headers = Headers(scope=scope)
        self._check_place(headers)
        by_cookie = False
        authorization = headers.getlist("authorization")
        if authorization:
            scheme, _, given = authorization[0].partition(" ")
            bearer = len(authorization) == 1 and scheme.lower() == "bearer"
            if not bearer or not _same(given.strip(), self._keys.token):
                raise _no_token("the token is wrong")
        else:
            if login := self._login(scope):
                return login
            by_cookie = any(_same(one, self._keys.cookie) for one in self._cookies(headers))
            if not by_cookie:
                raise _no_token("open the address that imgdb serve printed, or send its token")
        # A browser says where a request that changes something comes from.
        if by_cookie and scope["method"] not in SAFE_METHODS and not _says_origin(headers):
            raise _Refused(HTTPStatus.FORBIDDEN, "it does not say from which page it comes")
        return None

    def _check_place(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._names:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this server has another name")
        sites = headers.getlist("sec-fetch-site")
        if any(site not in ("same-origin", "none") for site in sites):
            raise _Refused(HTTPStatus.FORBIDDEN, "it comes from the page of another server")
        for origin in headers.getlist("origin"):
            scheme, _, place = origin.partition("://")
            if scheme not in ("http", "https") or place.lower() != hosts[0].lower():
                raise _Refused(HTTPStatus.FORBIDDEN, "it comes from the page of another server")

    def _login(self, scope: Scope) -> Response | None:
        """Return the way to the same page with the token in a cookie instead of the address."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if not tokens or scope["method"] not in SAFE_METHODS or _is_api(scope):
            return None
        if len(tokens) != 1 or not self._keys.opens(tokens[0]):
            raise _no_token("the token is wrong")
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash: two would lead to another server.
        path = "/" + str(scope["path"]).lstrip("/\\")
        response = RedirectResponse(path + (f"?{rest}" if rest else ""), HTTPStatus.SEE_OTHER)
        response.set_cookie(
            self._cookie, self._keys.cookie, path="/", httponly=True, samesite="strict"
        )
        return response

    def _cookies(self, headers: Headers) -> Iterable[str]:
        for header in headers.getlist("cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self._cookie:
                    yield value


def _refusal(scope: Scope, refused: _Refused) -> Response:
    status = refused.status
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    if not _is_api(scope):
        words = f"imgdb: {refused.words}\n"
        return Response(words, status, headers, media_type="text/plain")
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": refused.words,
    }
    return Response(json.dumps(problem), status, headers, media_type="application/problem+json")


def _no_token(words: str) -> _Refused:
    return _Refused(HTTPStatus.UNAUTHORIZED, words)


def _is_api(scope: Scope) -> bool:
    return str(scope["path"]).startswith("/api/")


def _says_origin(headers: Headers) -> bool:
    return "origin" in headers or headers.get("sec-fetch-site") == "same-origin"


def _host_name(host: str) -> str:
    """Return a Host header without its port, "" for what is none."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]) if found else ""


def _same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
