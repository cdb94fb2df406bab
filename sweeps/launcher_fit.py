"""Whether a launcher goes with a database: asked before anything is opened or created."""

from sweeps.errors import SweepError
from sweeps.launcher import LauncherKind

__all__ = ["check_launcher"]


def check_launcher(kind: LauncherKind, url: str, *, detach: bool = False) -> None:
    """Passes if workers of that kind can work on that database.

    Args:
        kind: the launcher, as `run.launcher` names it.
        url: of the database.
        detach: whether the workers are to go on without the process that starts them.

    Raises:
        SweepError: they are on several machines, which a SQLite file is not made for; or they end
            with the process that starts them.
    """
    if detach and kind == "local":
        message = (
            "--detach needs workers that go on without this process, but those of launcher "
            "'local' end with it; say --launcher ray, slurm or manual, or run it under nohup."
        )
        raise SweepError(message)
    if kind != "local" and url.startswith("sqlite"):
        message = (
            f"Launcher {kind!r} spans machines and must have a PostgreSQL database, but got "
            f"{url}; start one with `rdsweep db start`, or say --storage "
            "postgresql+psycopg://USER@HOST/DATABASE; `rdsweep db copy` takes a study along."
        )
        raise SweepError(message)
