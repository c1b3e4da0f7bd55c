"""Read the user's netrc file."""

import logging
import netrc
import os
import stat
from collections.abc import Mapping
from functools import lru_cache

from vidnb.http.credentials import Netrc
from vidnb.io.regular_file import expand_user

__all__ = ["read_netrc"]

logger = logging.getLogger(__name__)

_NAMES = ("~/.netrc", "~/_netrc")  # the second on Windows (curl); requests reads both everywhere


def read_netrc(environment: Mapping[str, str]) -> Netrc:
    """Return the entries of the file that `NETRC` names, else of `~/.netrc` or `~/_netrc`.

    Blocks. As with curl and requests a missing file is no error. A malformed one is ignored, and a
    file that other users can read is used, both with a logged warning: most downloads need no
    login, and those that do say so when it is refused. Each state of a file is parsed once.
    """
    named = environment.get("NETRC")
    for path in map(expand_user, (named,) if named else _NAMES):
        try:
            status = os.stat(path)  # noqa: PTH116 - any text may stand in the variable
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):  # /dev/null switches it off, and a pipe would block
            return _parsed(path, status.st_mtime_ns, status.st_size, status.st_mode)
        break
    return Netrc()


@lru_cache(maxsize=4)
def _parsed(path: str, modified_ns: int, size_bytes: int, mode: int) -> Netrc:  # noqa: ARG001 - keys
    """Parse one state of a file; nothing of its contents is logged."""
    try:
        hosts = netrc.netrc(path).hosts
    except netrc.NetrcParseError as error:  # its text quotes the token, which may be a password
        logger.warning(
            "%s is malformed at line %s; no login of it is used: correct it.", path, error.lineno
        )
        return Netrc()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        logger.warning("%s cannot be read (%s); no login of it is used.", path, reason)
        return Netrc()
    entries = {}
    for machine, (login, account, password) in hosts.items():
        user = login or account or ""
        if ":" in user:  # RFC 7617 section 2
            logger.warning("%s has a user name with a colon, which is not used: correct it.", path)
        elif user or password:  # requests once sent the empty pair
            entries[machine] = (user, password or "")
    if entries and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("%s can be read by other users of this machine: run chmod 600 on it.", path)
    return Netrc(entries)
