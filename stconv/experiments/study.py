"""A study of Optuna that several processes share: a lost trial is tried again, and counts once."""

from __future__ import annotations

import random
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import ConfigError, TrackingError
from stconv.passwords import without_password

if TYPE_CHECKING:
    import optuna

FOLDER = Path("runs", "sweeps")
HEARTBEAT_SECONDS = 30
"""A trial in a database says this often that it is alive, s."""
LOST_SECONDS = 180
"""A trial that has said nothing for this long is lost, s."""
MOST_RETRIES = 3
"""A trial is tried again at most this often, because it may itself be what ends its process."""
ATTEMPTS = 8
"""Of making the tables of a database, which fails where another process makes them at the same moment."""


def open_study(name: str, storage: str | None, seed: int | None = None) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: Name of the study.
        storage: Database URL, or path of a journal that several processes may write; None: in `FOLDER`.
        seed: Seed of the sampler.

    Raises:
        ConfigError: Optuna is not installed.
        TrackingError: The database cannot be used.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ConfigError(
            "`stconv sweep` needs Optuna, which is not installed: pip install 'stconv[sweep]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we report a trial that failed
    if storage is None or not is_database(storage):
        journal = Path(storage) if storage else FOLDER / f"{name}.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        return _create(name, JournalStorage(JournalFileBackend(str(journal))), seed)
    for attempt in range(ATTEMPTS):
        try:
            return _create(name, _database(storage), seed)
        except Exception as error:  # of the driver, of SQLAlchemy or of Optuna
            if attempt == ATTEMPTS - 1 or not _made_meanwhile(error):
                raise TrackingError(
                    f"The database of the study, {without_password(storage)}, cannot be used: "
                    f"{without_password(str(error)).splitlines()[0]}\nCheck --storage, that the server runs, "
                    "and that its driver is installed (psycopg2-binary for PostgreSQL)."
                ) from error
            time.sleep(random.uniform(0.1, 1.0))
    raise AssertionError


def is_database(storage: str | None) -> bool:
    """Whether a study is in a database, which notices lost trials, and not in a journal."""
    return storage is not None and "://" in storage


def n_finished(study: optuna.Study) -> int:
    """Number of trials that have ended; one that was lost and is tried again does not count by itself."""
    trials, lost = study.get_trials(deepcopy=False), lost_trials(study)
    return sum(trial.state.is_finished() and trial.number not in lost for trial in trials)


def n_waiting(study: optuna.Study) -> int:
    """Number of lost trials that nobody has taken up again."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def others_train_the_last(study: optuna.Study, n_trials: int) -> bool:
    """Whether the running trials are the last ones; if one of them is lost, it has to be tried again."""
    from optuna.trial import TrialState

    n_running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    return not n_waiting(study) and n_running > 0 and n_finished(study) + n_running >= n_trials


def lost_trials(study: optuna.Study) -> set[int]:
    """Numbers of the trials that were lost and are tried again under another number."""
    trials = study.get_trials(deepcopy=False)
    return {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}


def queue_lost_trials(study: optuna.Study) -> None:
    """Let the trials of killed processes be tried again; a study in a journal does not know them."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _create(name: str, storage: optuna.storages.BaseStorage, seed: int | None) -> optuna.Study:
    import optuna

    return optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )


def _database(address: str) -> optuna.storages.RDBStorage:
    import optuna
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(
            address,
            engine_kwargs={"pool_pre_ping": True},  # a connection may be lost between two epochs
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=LOST_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES),
        )


def _made_meanwhile(error: BaseException) -> bool:
    """Whether another process made the same table or row at the same moment."""
    text = f"{type(error).__name__} {error}".lower()
    return "already exists" in text or "integrityerror" in text or "duplicate key" in text
