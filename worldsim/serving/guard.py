"""Who may talk to a page. Stands in front of the whole application, so that no route can forget a check.

- Host: the name of this machine's loopback only, so that no site can point its own name here (DNS rebinding). Any port of it, because
  `ssh -L` may bring the page to another.
- One-time token: the address that is printed gives one browser a cookie (HttpOnly, SameSite=Strict), and then no other.
- POST: a second secret that only the page's own script can read, sent as a header, and no foreign Origin (CSRF).
- Every answer forbids what the page does not need: foreign or inline scripts, frames, sniffing, caching, referrers.
"""

import re
import secrets
from threading import Lock
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 4096  # bytes
HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
ENTRANCE = "/enter"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
HEADERS = {
    "content-security-policy": POLICY + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
# Not a redirect: were the address clicked on another site, a browser would withhold the new SameSite=Strict cookie along the redirect.
WELCOME = '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>worldsim</title>'


class Keys:
    """The secrets of one page, served by `command`: the token of the printed address, the cookie that it buys once, and what a POST must
    carry.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.token, self.cookie, self.csrf = (secrets.token_urlsafe(32) for _ in range(3))
        self.cookie_name = f"worldsim-{command}-{secrets.token_hex(4)}"  # cookies of one host are shared by its ports
        self._unused, self._lock = True, Lock()

    def redeem(self, token: str) -> bool:
        """Whether this is the token, the first time; False ever after."""
        with self._lock:
            if not (self._unused and _same(token, self.token)):
                return False
            self._unused = False
            return True


class Guard:
    """The application behind its checks."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request; nothing else is spoken here."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(scope) or self._entrance(scope) or self._app
        await answer(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is wrong with a request, or None."""
        headers, method = Headers(scope=scope), scope["method"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            return _refused("this page answers to 127.0.0.1 and localhost only")
        if method not in ("GET", "HEAD", "POST"):
            return _refused("unknown method", 405)
        if refusal := _body_refusal(headers, method):
            return refusal
        if scope["path"] == ENTRANCE:
            return None
        if not _same(_cookie(headers, self._keys.cookie_name), self._keys.cookie):
            return _refused(f"open the address that worldsim {self._keys.command} printed; it lets in one browser, once")
        if method == "POST" and not (
            headers.get("origin", f"http://{hosts[0]}") == f"http://{hosts[0]}"
            and headers.get("sec-fetch-site", "same-origin") == "same-origin"
            and _same(headers.get("x-csrf-token", ""), self._keys.csrf)
        ):
            return _refused(f"this request does not come from the {self._keys.command} page")
        return None

    def _entrance(self, scope: Scope) -> Response | None:
        """The answer to a visitor with a token, or None where another page is asked for."""
        if scope["path"] != ENTRANCE:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        if scope["method"] != "GET" or len(given) != 1 or not self._keys.redeem(given[0]):
            again = f"type the same worldsim {self._keys.command} command again for a new one"
            return _refused(f"this address lets in one browser, once; {again}")
        response = HTMLResponse(WELCOME)
        response.set_cookie(self._keys.cookie_name, self._keys.cookie, path="/", httponly=True, samesite="strict")
        return response


def _body_refusal(headers: Headers, method: str) -> Response | None:
    """Why a request's body is not read: it is longer than any answer of the page, or does not say how long it is."""
    length = headers.get("content-length", "0" if method != "POST" else "")
    if "transfer-encoding" in headers or not length.isdigit():
        return _refused("the length of the body must be given", 411)
    if len(length) > 9 or int(length) > LARGEST_BODY:
        return _refused("the body is too long", 413)
    return None


def _cookie(headers: Headers, name: str) -> str:
    """The value of one cookie, empty where it was not sent."""
    for pair in "; ".join(headers.getlist("cookie")).split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def _same(given: str, secret: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def _refused(why: str, status: int = 403) -> Response:
    return PlainTextResponse(f"refused: {why}\n", status)
