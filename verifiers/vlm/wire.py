"""One POST through the `openai` client: bounded in time and size, never repeated, never redirected. Knows no question.

The client's own retries are off, so that ours are the only ones. It is imported when a connection is opened.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Self

from worldsim.errors import MissingDependency, install_extra
from worldsim.verifiers.vlm.pace import LONGEST_WAIT, asked_wait
from worldsim.verifiers.vlm.reply import NoAnswer
from worldsim.verifiers.vlm.text import shown

MOST_BYTES = 2**21
AGAIN = (408, 409, 425, 429)  # and all from 500 on
REFUSED = (400, 404, 415, 422, 501)  # a form that the server does not take may be answered so


class Wire:
    """A connection to a server. Used by many threads at once; `with` closes it.

    Args:
        base_url: of the server, with /v1 where it wants that.
        secret: its key, or None.
        timeout: seconds for one request, from the first byte sent to the last received.

    Raises:
        MissingDependency: the openai package is not installed.
    """

    def __init__(self, base_url: str, secret: str | None, timeout: float) -> None:
        self._openai = import_openai()
        self._secret, self._timeout = secret, timeout
        http = self._openai.DefaultHttpxClient(follow_redirects=False, event_hooks={"response": [self._stop_at_errors]})
        self._client = self._openai.OpenAI(api_key=secret or "none", base_url=base_url, max_retries=0, timeout=timeout, http_client=http)
        self._client.organization = self._client.project = None  # the environment's are another service's business

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, body: Mapping[str, Any]) -> bytes:
        """The body of the server's answer, without the key, should the server repeat it.

        Raises:
            NoAnswer: there was none in time, it broke off, is too long, or has another status than success.
        """
        known, more = {key: body[key] for key in ("model", "messages")}, {k: v for k, v in body.items() if k not in ("model", "messages")}
        with self._named(), self._client.chat.completions.with_streaming_response.create(**known, extra_body=more) as response:
            found = self._whole(response.iter_bytes())
        return found.replace(self._secret.encode(), b"[key]") if self._secret else found

    @contextmanager
    def _named(self) -> Any:
        """Give every failure of the network its line."""
        try:
            yield
        except NoAnswer:
            raise
        except self._openai.APITimeoutError as error:
            raise NoAnswer(f"no answer within {self._timeout:g} s", again=True) from error
        except Exception as error:  # whatever the HTTP library raises; its classes differ between versions of openai
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            if isinstance(cause, NoAnswer):
                raise cause from None
            late = "timeout" in type(cause).__name__.lower()
            what = f"no answer within {self._timeout:g} s" if late else f"the connection failed ({shown(str(cause), self._secret, 80)})"
            raise NoAnswer(what, again=True) from error

    def _whole(self, chunks: Iterable[bytes]) -> bytes:
        deadline, found = time.monotonic() + self._timeout, bytearray()
        for chunk in chunks:
            found += chunk
            if len(found) > MOST_BYTES:
                raise NoAnswer(f"the server sent more than {MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise NoAnswer(f"no whole answer within {self._timeout:g} s", again=True)
        return bytes(found)

    def _stop_at_errors(self, response: Any) -> None:
        """Raise the fault that a status stands for, before anybody reads a page without end."""
        status = response.status_code
        if 200 <= status < 300:
            return
        try:
            page = self._whole(response.iter_bytes())
        except NoAnswer:
            page = b""
        wait = asked_wait(response.headers.get("retry-after")) if status in AGAIN or status >= 500 else None
        said = shown(page[:2000].decode("utf-8", "replace"), self._secret, 100)
        again = (status in AGAIN or status >= 500) and status != 501 and (wait is None or wait <= LONGEST_WAIT)
        asks = f" and asks to be left alone for {wait:g} s" if wait is not None and not again else ""
        raise NoAnswer(f'the server answered {status}{asks}: "{said}"', again=again, wait=wait, refused=status in REFUSED)


def import_openai() -> Any:
    """The openai package.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise MissingDependency(f"a VLM behind an endpoint needs openai; type: {install_extra('vlm')}") from error
    return openai
