"""How the C library's allocator serves arrays that come and go: freed memory is used again, not given back."""

from __future__ import annotations

import ctypes

#: Options of glibc's `mallopt`.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: The largest threshold that glibc takes.
_LARGEST_MAPPED = 1 << 25


def keep_freed_memory() -> None:
    """Let every array of up to 32 MiB reuse what another one left.

    By default each of some megabytes is mapped anew, page by page, which takes longer than the arithmetic on it. Does
    nothing where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGEST_MAPPED), (_TRIM_THRESHOLD, 1 << 30)):
        mallopt(option, value)
