"""Processes whose sockets are watched with strace (Linux), and whose home folder shows what they leave."""

import re
import shutil
from pathlib import Path

import psutil
import pytest

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="sockets are watched with strace")
_CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
_ADDRESS = re.compile(
    r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"|sin6_port=htons\((\d+)\).*?"([0-9a-f:.]+)"'
)
_DNS = 53
_FONTS = (".cache/matplotlib/", ".config/matplotlib/")


def watched(log: Path) -> list[str]:
    """What to put before a command; its process and all below it write their connections to ``log``."""
    # -D: the command stays the child of whoever starts it, so that it can be ended and measured as ever.
    return [] if STRACE is None else [STRACE, "-D", "-f", "--seccomp-bpf", "-qq", "-e", _CALLS, "-o", str(log)]


def foreign_connections(log: Path) -> list[str]:
    """The lines of a log that reach beyond this machine, name look-ups included."""
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    lines = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        for port, address, port6, address6 in _ADDRESS.findall(line):
            host = (address or address6).removeprefix("::ffff:")
            local = host.startswith("127.") or host in {"::1", "::", "0.0.0.0"} or host in own
            if not local or int(port or port6) == _DNS:
                lines.append(line)
    return lines


def files_below(home: Path) -> list[str]:
    """Everything that a process left in its home folder, but matplotlib's list of fonts."""
    names = sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir())
    return [name for name in names if not name.startswith(_FONTS)]
