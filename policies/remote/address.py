"""Where a server is, whether it may be spoken to, and who is there instead."""

import ipaddress
import os
import socket
from dataclasses import dataclass

from worldsim.errors import InvalidInput
from worldsim.policies.remote.faults import NoServer, shown

PROBE_SECONDS = 2.0


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def secret_of(variable: str | None) -> str | None:
    """The value of an environment variable that holds a secret; None where no variable is named.

    Raises:
        InvalidInput: the variable is not set, or its value cannot stand in a header.
    """
    if variable is None:
        return None
    secret = os.environ.get(variable, "")
    if not secret or not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise InvalidInput(f"the environment variable {variable} holds no usable secret; type: export {variable}=...")
    return secret


@dataclass(frozen=True)
class Address:
    """A host and port, and how to get in. The secret is shown nowhere.

    Raises:
        InvalidInput: a port that is none, or a host beyond this machine without TLS and without leave.
    """

    host: str
    port: int
    tls: bool = False
    allow_remote: bool = False
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        if type(self.port) is not int or not 0 < self.port < 65536:
            raise InvalidInput(f"port is {self.port}, expected a number from 1 to 65535")
        if not isinstance(self.host, str) or not self.host or any(letter in self.host for letter in "/@ ?#"):
            raise InvalidInput(f'host is "{self.host}", expected a name or an address such as 127.0.0.1, without ws:// and port')
        if not (is_loopback(self.host) or self.tls or self.allow_remote):
            raise InvalidInput(
                f"{self.host} is another machine and the connection would be in plain text; "
                "type tls=true where the server has it, allow_remote=true to go on, or tunnel: ssh -L PORT:localhost:PORT HOST"
            )

    @property
    def secret(self) -> str | None:
        """The key that the server wants, from the environment."""
        return secret_of(self.api_key_env)

    @property
    def place(self) -> str:
        """Host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def dial(self, seconds: float) -> socket.socket:
        """A TCP connection. Raises OSError (TimeoutError among them)."""
        return socket.create_connection((self.host, self.port), timeout=seconds)

    def nobody(self, expected: str, reason: str) -> NoServer:
        """The error of a first contact that failed: who is at the address, what was expected, and what happened."""
        return NoServer(f"{self._who()} at {self.place}, expected {expected}; {reason}; start the server or type port=PORT")

    def _who(self) -> str:
        try:
            with self.dial(PROBE_SECONDS) as probe:
                probe.settimeout(PROBE_SECONDS)
                probe.sendall(f"GET / HTTP/1.1\r\nHost: {self.place}\r\nConnection: close\r\n\r\n".encode())
                answer = probe.recv(2048).decode("latin-1")
        except ConnectionRefusedError:
            return "nothing listens"
        except TimeoutError:
            return "somebody who says nothing is"
        except OSError as error:
            return f"nobody can be reached ({shown(str(error))})"
        if not answer.startswith("HTTP/"):
            return f'somebody who says "{shown(answer, self.secret, 40)}" is' if answer else "somebody who hangs up is"
        head, server = answer.split("\r\n\r\n")[0].split("\r\n"), ""
        for line in head[1:]:
            name, _, value = line.partition(":")
            server = f' "{shown(value, None, 40)}"' if name.lower() == "server" else server
        return f"an HTTP server{server} that answers {shown(head[0], None, 40)} is"
