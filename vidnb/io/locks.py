"""Locks between processes that die with their holder (flock(2)); asked for, never waited for."""

__all__ = ["can_lock", "lock"]


def can_lock() -> bool:
    """Tell whether this system has such locks; on Windows it has none."""
    try:
        import fcntl  # noqa: F401 - to see whether it is there
    except ImportError:
        return False
    return True


def lock(descriptor: int, *, is_shared: bool = False) -> bool | None:
    """Lock an open file until it is closed; a shared lock keeps out only those that are not.

    False where another holds it, None where the system or the file system has no such locks.
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
