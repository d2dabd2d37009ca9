"""Where an OpenAI-compatible server is, and the secret that it wants. The secret is shown nowhere."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from worldsim.errors import InvalidInput


def checked_url(url: str, *, allow_remote: bool) -> str:
    """A base URL, without the slash at its end.

    Raises:
        InvalidInput: no http or https URL, one with a password or a query in it, or plain text to another machine without leave.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("base_url is no http or https URL, expected one such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput(
            f"base_url of {host} holds a user, a password or a query; type the bare URL and give a key with api_key_env=VARIABLE"
        )
    if parts.scheme == "http" and not (_loopback(host) or allow_remote):
        raise InvalidInput(
            f"{host} is another machine and frames would travel in plain text; use https, or type allow_remote: true to go on"
        )
    return url.rstrip("/")


def secret_of(variable: str | None) -> str | None:
    """The value of the environment variable that holds the key; None where no variable is named.

    Raises:
        InvalidInput: no name of a variable, which is then not repeated since it may be the key itself; or nothing usable in it.
    """
    if variable is None:
        return None
    if not isinstance(variable, str) or not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", variable):
        raise InvalidInput(
            "api_key_env names no environment variable, expected upper-case letters as in OPENAI_API_KEY, not the key itself"
        )
    secret = os.environ.get(variable, "")
    if not secret or not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise InvalidInput(f"the environment variable {variable} holds no usable key; type: export {variable}=...")
    return secret


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
