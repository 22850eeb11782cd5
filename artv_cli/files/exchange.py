"""Two names trade places in one step, where the system can do that: Linux can."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_HERE = -100  # AT_FDCWD: a relative path counts from the current folder
_EXCHANGE = 2  # RENAME_EXCHANGE
# A kernel, a library or a file system that has no such call.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def exchange(one: Path, other: Path) -> bool:
    """Have two files or folders of one file system trade names; False where that cannot be done.

    There is no instant at which either name is missing, and False means that nothing was done.
    Raises OSError.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or a C library without the call
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in _UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
