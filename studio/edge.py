"""The edge of the command line: the one place where every exception of a command ends, as a sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 asked for with values that cannot be. The traceback goes to the log, never to the
terminal. Knows nothing about the commands themselves.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from studio.terminal import say

log = logging.getLogger(__name__)

FAILED, BAD_VALUES, LET_GO = 1, 2, 130  # the last is what shells say of Ctrl-C


class UsageError(ValueError):
    """What was asked for names something there is not, or goes together with nothing."""


class CommandFailed(Exception):
    """The work was done as asked and did not succeed. The message says why."""


def at_the_edge(command: Callable[[], None]) -> int:
    """Do `command`; return the exit code, after saying on stderr what went wrong."""
    try:
        command()
    except KeyboardInterrupt:
        return LET_GO
    except Exception as error:
        return _failed(error)
    return 0


def _failed(error: Exception) -> int:
    # Imported here: a command that goes well, such as one that only shows its help, needs none of them.
    from adapters_store.errors import NameRefused, NotFound, StoreError
    from engine.data.check import DataError
    from engine.settings import SettingsError
    from engine.suites.prompts import SuiteError
    from jobs.ask import AnswererError
    from jobs.examining import ExamineError
    from jobs.hub_data import HubDataError
    from studio.actions import ActionError, NotNow

    asked_wrong = (
        SettingsError,
        SuiteError,
        DataError,
        ExamineError,
        NotFound,
        NameRefused,
        ActionError,
        UsageError,
        HubDataError,
    )
    if isinstance(error, (*asked_wrong, StoreError, AnswererError, CommandFailed)):
        _tell(error)
        return BAD_VALUES if isinstance(error, asked_wrong) and not isinstance(error, NotNow) else FAILED
    log.error("the command failed", exc_info=error)
    say(f"That did not work ({type(error).__name__}: {error}). {_where_the_log_is()}")
    return FAILED


def log_to(file: Path) -> None:
    """Send what is logged to `file`, and only there."""
    form = "%(asctime)s %(name)s %(levelname)s %(message)s"
    logging.basicConfig(filename=file, level=logging.INFO, format=form, force=True)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _tell(error: Exception) -> None:
    problems: list[str] = getattr(error, "problems", None) or [str(error)]
    for problem in problems:
        say(problem)
    more = getattr(error, "total", 0) - len(problems)
    if more > 0:
        say(f"And {more:,} more.")


def _where_the_log_is() -> str:
    files = [h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
    return f"The log says more: {files[0]}" if files else ""
