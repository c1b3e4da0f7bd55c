"""File locks between processes (flock(2)), which end with their process; never waited for."""

__all__ = ["can_lock", "lock"]


def can_lock() -> bool:
    """Return whether this system has such locks; Windows has none."""
    try:
        import fcntl  # noqa: F401 - whether it exists
    except ImportError:
        return False
    return True


def lock(descriptor: int, *, is_shared: bool = False) -> bool | None:
    """Lock an open file until it is closed; a shared lock excludes only exclusive ones.

    Return whether it was acquired, None if the system or the file system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
