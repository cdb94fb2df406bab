"""What a person sees while a sweep runs: read from the database, drawn by rich."""

import time
from collections.abc import Sequence
from typing import Self, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from studies.database import Database
from studies.fronts import study_front
from studies.queries import last_epochs_of, query_trials
from studies.records import EpochRecord, StudyRecord, TrialRecord

_LONG = 1e7
"""From here on a number is printed as a power of ten."""


@final
class Snapshots:
    """A study as it is now, read again at little cost: only what is new since the last look."""

    def __init__(self, db: Database, study: StudyRecord) -> None:
        self._db = db
        self._study = study
        self._since = 0.0
        self.wanted = study.trials_wanted
        self.finished: dict[int, TrialRecord] = {}
        self.running: list[tuple[TrialRecord, EpochRecord | None]] = []
        self.front_size = 0
        self.hypervolume = 0.0

    def refresh(self) -> list[TrialRecord]:
        """Reads what is new; returns the trials that finished since the last look."""
        found = query_trials(self._db, self._study.name, where=f"finished_at >= {self._since!r}")
        new = [trial for trial in found if trial.number not in self.finished]
        self.finished.update({trial.number: trial for trial in new})
        self._since = max((trial.finished_at or 0.0 for trial in found), default=self._since)
        running = query_trials(self._db, self._study.name, where="state = 'running'")
        numbers = [trial.number for trial in running]
        last = last_epochs_of(self._db, self._study.name, numbers) if numbers else {}
        self.running = [(trial, last.get(trial.number)) for trial in running]
        if new:
            front = study_front(self._db, self._study.name)
            self.front_size, self.hypervolume = len(front.trials), front.hypervolume
        return new


class SweepDisplay:
    """A live display on a terminal, one line per finished trial elsewhere (logs, CI).

    Args:
        console: where to draw.
        db: where the study is.
        study: whose progress it is.
    """

    def __init__(self, console: Console, db: Database, study: StudyRecord) -> None:
        self._console = console
        self._study = study
        self._snapshots = Snapshots(db, study)
        self._unit = "nats" if study.distortion == "nll" else "SE"
        self._started = time.monotonic()
        self._at_start: int | None = None
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("trials"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task(study.name, total=study.trials_wanted, left="")
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def note(self, text: str) -> None:
        """Says something above the bars (a worker died, a stop was asked for)."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def refresh(self) -> int:
        """Draws the study as it is now; returns how many of its trials are finished."""
        now = self._snapshots
        new = now.refresh()
        done = len(now.finished)
        if self._at_start is None:
            self._at_start = done
        else:
            self._tell(new, done)
        self._bar.update(self._task, completed=done, left=self._time_left(done))
        if self._live.is_started:
            self._live.update(self._drawing())
        return done

    def _tell(self, new: Sequence[TrialRecord], done: int) -> None:
        """A line for each new trial; on a terminal only for those that went wrong."""
        for place, trial in enumerate(new, start=done - len(new) + 1):
            if trial.state == "complete" and self._live.is_started:
                continue
            line = trial_line(trial, self._study.distortion, place, self._study.trials_wanted)
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _time_left(self, finished: int) -> str:
        done = finished - (self._at_start or 0)
        left = self._study.trials_wanted - finished
        if left <= 0 or done <= 0:
            return ""
        seconds = (time.monotonic() - self._started) / done * left
        return f"about {_duration(seconds)} left"

    def _drawing(self) -> RenderableType:
        summary = (
            f"front: {self._snapshots.front_size} trials   hypervolume: {self._snapshots.hypervolume:.4g}"
            f" (reference R = {self._study.rate_reference_nats:.1f} nats,"
            f" D = {self._study.distortion_reference:.1f} {self._unit})"
        )
        parts: list[RenderableType] = [self._bar, self._running_table(), Text(summary)]
        return Group(*parts)

    def _running_table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("trial", "epoch", "R (nats)", f"D ({self._unit})", "β", "M"):
            table.add_column(heading, justify="right")
        table.add_column("settings")
        for trial, epoch in self._snapshots.running:
            table.add_row(
                str(trial.number),
                f"{epoch.epoch if epoch else 0}/{trial.epochs}",
                f"{epoch.rate_nats:.2f}" if epoch else "–",
                f"{self._distortion(epoch):.2f}" if epoch else "–",
                "–" if trial.beta is None else f"{trial.beta:.3g}",
                str(trial.latent_dim),
                ", ".join((trial.family, trial.likelihood, trial.reduction, *_ways(trial))),
            )
        return table

    def _distortion(self, epoch: EpochRecord) -> float:
        nll = self._study.distortion == "nll"
        return epoch.distortion_nll_nats if nll else epoch.distortion_se


def trial_line(trial: TrialRecord, distortion: str, done: int, wanted: int) -> str:
    """A finished trial in one line: its metrics, or why it has none."""
    reused = "" if trial.reused_from is None else f", reused from trial {trial.reused_from}"
    head = f"[{done}/{wanted}] trial {trial.number} {trial.state}{reused}"
    settings = _settings(trial)
    if trial.state != "complete":
        lines = (trial.error or "no message").strip().splitlines()
        reason = lines[-1] if trial.state == "failed" else lines[0]
        return f"{head}: {reason} ({settings})"
    value, unit = trial.distortion_se, "SE"
    if distortion == "nll":
        value, unit = trial.distortion_nll_nats, "nats"
    return f"{head}: R={_figure(trial.rate_nats)} nats D={_figure(value)} {unit} ({settings})"


def _figure(value: float | None) -> str:
    """Two decimals, or a power of ten where that would be long."""
    if value is None:
        return "none"
    return f"{value:.2f}" if abs(value) < _LONG else f"{value:.2e}"


def _settings(trial: TrialRecord) -> str:
    weight = () if trial.beta is None else (f"β={trial.beta:.3g}",)
    names = (trial.family, trial.likelihood, trial.reduction)
    return " ".join((*weight, f"M={trial.latent_dim}", *names, *_ways(trial)))


def _ways(trial: TrialRecord) -> tuple[str, ...]:
    """The schedule, and what is not the plain VAE of the textbook."""
    plain = ("kl", "standard", "diagonal")
    special = (trial.regulariser, trial.prior, trial.posterior)
    return (
        trial.annealing,
        *(name for name, usual in zip(special, plain, strict=True) if name != usual),
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
