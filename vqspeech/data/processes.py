"""Work that is shared among processes: what is finished counts, whatever ends the rest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from vqspeech.errors import CorpusError


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    function: Callable[..., int],
    jobs: Sequence[tuple[Any, ...]],
    num_workers: int,
    *,
    doing: str,
    of: str,
    total: int,
    done: int,
    progress: bool,
    remedy: str = "",
) -> None:
    """Call a function of some module once for each job, in processes where that helps, beneath a progress bar.

    Parameters
    ----------
    function : gives the amount of work that a call has done
    jobs : arguments of each call
    num_workers : processes; with one all is done in this process
    doing : what is being done, for the bar and for the error
    of, total, done : what the work is counted in, how much of it there is, and how much was done before
    progress : whether the bar is shown, on stderr
    remedy : what else the error advises

    Raises
    ------
    CorpusError
        If a process is ended from outside; and what the function raises.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        doing, BarColumn(), MofNCompleteColumn(), of, TimeRemainingColumn(), console=Console(stderr=True),
        disable=not progress,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=total, completed=done)
        for amount in _results(function, jobs, min(num_workers, len(jobs)), f"a {doing} process", remedy):
            bar.advance(task, amount)


def _results(
    function: Callable[..., int], jobs: Sequence[tuple[Any, ...]], num_workers: int, worker: str, remedy: str
) -> Iterator[int]:
    if num_workers <= 1:
        yield from (function(*job) for job in jobs)
        return
    # spawn: a process that has started threads (torch, numba) must not be forked.
    pool = ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_start_worker)
    try:
        for future in as_completed([pool.submit(function, *job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool:
        raise CorpusError(
            f"{worker} was ended from outside, perhaps for want of memory. What is finished is kept: call again{remedy}"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Let the parent alone answer an interrupt, and end with it even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        watch = parent.join
        threading.Thread(target=lambda: (watch(), os._exit(1)), daemon=True).start()
