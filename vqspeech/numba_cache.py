"""What numba keeps of compiled code, made safe for several processes at once and for disks that take nothing.

numba keeps a function's code in numbered files, one for each type of arguments, and in an index that says which number
is which type's. It locks nothing, and two processes that compile at once can spoil it in two ways:

- They give two types one number, and the index then names the code of one type for the other.
- A generalised function (`guvectorize`) is kept in two parts. Its wrapper calls the loop by a name that counts what the
  process compiled before, so the loop of one process and the wrapper of another do not fit together.

Every later process loads that and crashes, until somebody deletes the folder. librosa runs into both: it compiles some
of its functions when it is imported, others when they are called. And its import fails where nothing can be written.

Here each type has a file of its own, named by the type (a wrapper's also by the name that it calls), written whole, and
read only if what stands in it is what was asked for. There is no index. What cannot be kept is compiled again in every
process, and one sentence says so.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import logging
import os
import pickle
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vqspeech.errors import DependencyError

GUARDED = {"librosa", "vqspeech"}  # whose functions; others in the process are left to numba
PREFIX = "vqspeech-"  # of the files: what numba's own index names may be spoilt already

_LOG = logging.getLogger(__name__)
_GUARDING = threading.Lock()


def import_librosa() -> Any:
    """Import librosa so that processes which compile it at once do not spoil what they keep.

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    guard()
    try:
        return importlib.import_module("librosa")
    except ModuleNotFoundError as reason:
        raise DependencyError("librosa is not installed. Install it with: pip install librosa") from reason


def guard() -> None:
    """Let functions of `GUARDED` that are decorated from now on keep their code safely; may be called again."""
    with _GUARDING:
        _guard()


@functools.cache
def _guard() -> None:
    from numba.core import caching
    from numba.np.ufunc import wrappers

    begin_cache, begin_wrapper = caching.Cache.__init__, wrappers._GufuncWrapper.__init__

    def begin_guarded_cache(cache: Any, py_func: Any) -> None:
        if str(py_func.__module__).partition(".")[0] not in GUARDED:
            begin_cache(cache, py_func)
            return
        try:
            begin_cache(cache, py_func)
        except RuntimeError:  # numba found no folder it may write to
            cache._cache_path = os.devnull
            cache.disable()
            _say_once("no folder can be written")
            return
        stamp = cache._cache_file._source_stamp
        cache._cache_file = _files_class()(cache._cache_path, PREFIX + cache._impl.filename_base, stamp)
        cache._guard_against_spurious_io_errors = _go_on_without

    def begin_guarded_wrapper(wrapper: Any, *arguments: Any, **options: Any) -> None:
        begin_wrapper(wrapper, *arguments, **options)
        file = getattr(wrapper.cache, "_cache_file", None)
        if isinstance(file, _files_class()):
            file.callee = wrapper.fndesc.mangled_name

    caching.Cache.__init__ = begin_guarded_cache
    wrappers._GufuncWrapper.__init__ = begin_guarded_wrapper


@functools.cache
def _files_class() -> Any:
    """Where a function's code is kept, in place of numba's `IndexDataCacheFile`: one file for each type."""
    from numba.core import caching

    class OwnFiles(caching.IndexDataCacheFile):
        callee = ""  # the function that a wrapper calls

        def path(self, key: Any) -> str:
            digest = hashlib.sha256(repr((key, self.callee)).encode()).hexdigest()[:16]
            return self._data_path(f"{self._index_name.removesuffix('.nbi')}.{digest}.nbc")

        def load(self, key: Any) -> Any:
            try:
                with open(self.path(key), "rb") as file:
                    if pickle.load(file) == self._version:  # else what follows may not even be readable
                        *whose, data = pickle.load(file)
                        return data if whose == [self._source_stamp, key, self.callee] else None
            except Exception:  # not there, or damaged: a pickle fails in many ways
                pass
            return None

        def save(self, key: Any, data: Any) -> None:
            content = self._dump((self._source_stamp, key, self.callee, data))
            with self._open_for_write(self.path(key)) as file:
                pickle.dump(self._version, file)
                file.write(content)

    return OwnFiles


@contextlib.contextmanager
def _go_on_without() -> Iterator[None]:
    try:
        yield
    except OSError as reason:
        _say_once(reason.strerror or str(reason))


@functools.cache
def _say_once(reason: str) -> None:
    _LOG.info(
        f"compiled code is not kept ({reason}), so that every start takes longer. "
        "Free some space, or name a folder that can be written: NUMBA_CACHE_DIR=FOLDER"
    )


class Kept:
    """A function that numba compiles at its first call, and keeps on disk where there is a folder for it.

    numba's own key watches one file alone, so the name on disk holds what all of them say. And it numbers the files
    that one function has for several types and processors, which processes that start together may number alike, so
    each variant and each processor (see `vqspeech.processor`) has a function of its own.

    Parameters
    ----------
    function : to compile
    sources : files whose text is part of what is compiled
    options : of `numba.njit`
    """

    def __init__(self, function: Callable[..., Any], sources: Sequence[Path], **options: Any) -> None:
        self._function, self._sources, self._options = function, sources, options
        self._lock = threading.Lock()
        self._compiled: dict[str, Callable[..., Any]] = {}

    def __call__(self, variant: str, *arguments: Any) -> Any:
        """Call the function, compiled for a variant, a word that tells calls of different types apart."""
        try:
            return self.kept(variant)(*arguments)
        except Exception:  # what is kept on disk cannot be read, is damaged, or does not fit; nothing has run yet
            with self._lock:
                self._discard(variant)
            return self._compiled[variant](*arguments)

    def kept(self, variant: str) -> Any:
        """The function for a variant, as numba made it."""
        with self._lock:
            if variant not in self._compiled:
                self._compiled[variant] = self._keep(variant)
            return self._compiled[variant]

    def _keep(self, variant: str) -> Callable[..., Any]:
        from numba.core.registry import cpu_target

        guard()
        processor = repr(cpu_target.target_context.codegen().magic_tuple()).encode()  # its name and features
        digest = hashlib.sha256(b"".join([*(source.read_bytes() for source in self._sources), processor])).hexdigest()
        try:
            return self._compile(f"{self._function.__name__}_{variant}_{digest[:16]}", cache=True)
        except RuntimeError:  # numba found no folder it may write to
            return self._compile(self._function.__name__)

    def _compile(self, name: str, **options: Any) -> Callable[..., Any]:
        """The function under a name, which is that of its files on disk."""
        import numba

        function = types.FunctionType(self._function.__code__, self._function.__globals__, name)
        function.__qualname__, function.__module__ = name, self._function.__module__
        compiled: Callable[..., Any] = numba.njit(function, **self._options, **options)
        return compiled

    def _discard(self, variant: str) -> None:
        """Compile in memory, and remove what is kept, so that the next process keeps it anew."""
        kept, self._compiled[variant] = self._compiled.get(variant), self._compile(self._function.__name__)
        with contextlib.suppress(AttributeError, OSError):
            folder = Path(kept.stats.cache_path)  # type: ignore[union-attr]
            for file in folder.glob(f"*{self._function.__name__}_{variant}_*.nb?"):
                file.unlink()
