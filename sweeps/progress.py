"""What a person sees while a sweep runs: read from the database, drawn by rich."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from studies.database import Database
from studies.fronts import study_front
from studies.queries import epochs_of, query_trials
from studies.records import EpochRecord, StudyRecord, TrialRecord

FINISHED = ("complete", "diverged", "failed")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        finished: trials that are complete, diverged or failed, in order of number.
        running: trials in training with their last epoch's record (None before the first).
        wanted: how many trials the study is to have.
        front_size: number of non-dominated trials.
        hypervolume: against the study's fixed reference point.
    """

    finished: Sequence[TrialRecord]
    running: Sequence[tuple[TrialRecord, EpochRecord | None]]
    wanted: int
    front_size: int
    hypervolume: float


def snapshot_of(db: Database, study: StudyRecord) -> Snapshot:
    """Reads the study as it is now."""
    trials = query_trials(db, study.name)
    running = [trial for trial in trials if trial.state == "running"]
    last: dict[int, EpochRecord] = {}
    if running:
        epochs = epochs_of(db, study.name, [trial.number for trial in running])
        last = {number: records[-1] for number, records in epochs.items() if records}
    front = study_front(db, study.name)
    return Snapshot(
        finished=[trial for trial in trials if trial.state in FINISHED],
        running=[(trial, last.get(trial.number)) for trial in running],
        wanted=study.trials_wanted,
        front_size=len(front.trials),
        hypervolume=front.hypervolume,
    )


class SweepDisplay:
    """A live display on a terminal, one line per finished trial elsewhere (logs, CI).

    Args:
        console: where to draw.
        study: whose progress it is.
    """

    def __init__(self, console: Console, study: StudyRecord) -> None:
        self._console = console
        self._study = study
        self._unit = "nats" if study.distortion == "nll" else "SE"
        self._started = time.monotonic()
        self._at_start: int | None = None
        self._told: set[int] = set()
        self._note = ""
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
        """Says something beside the bars, once (a worker died, a stop was asked for)."""
        self._note = text
        if not self._live.is_started:
            self._console.print(text, highlight=False, markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draws the study as it is now."""
        if self._at_start is None:
            self._at_start = len(snapshot.finished)
            self._told = {trial.number for trial in snapshot.finished}
        self._bar.update(
            self._task,
            completed=len(snapshot.finished),
            total=snapshot.wanted,
            left=self._time_left(snapshot),
        )
        if self._live.is_started:
            self._live.update(self._drawing(snapshot))
        self._tell_new(snapshot)

    def _tell_new(self, snapshot: Snapshot) -> None:
        new = [trial for trial in snapshot.finished if trial.number not in self._told]
        self._told |= {trial.number for trial in new}
        for trial in new:
            if trial.state == "complete" and self._live.is_started:
                continue
            self._console.print(
                trial_line(trial, self._study.distortion, len(self._told), snapshot.wanted),
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def _time_left(self, snapshot: Snapshot) -> str:
        done = len(snapshot.finished) - (self._at_start or 0)
        left = snapshot.wanted - len(snapshot.finished)
        if left <= 0 or done <= 0:
            return ""
        seconds = (time.monotonic() - self._started) / done * left
        return f"about {_duration(seconds)} left"

    def _drawing(self, snapshot: Snapshot) -> RenderableType:
        summary = (
            f"front: {snapshot.front_size} trials   hypervolume: {snapshot.hypervolume:.4g}"
            f" (reference R = {self._study.rate_reference_nats:.1f} nats,"
            f" D = {self._study.distortion_reference:.1f} {self._unit})"
        )
        parts: list[RenderableType] = [self._bar, self._running_table(snapshot), Text(summary)]
        if self._note:
            parts.append(Text(self._note, style="yellow"))
        return Group(*parts)

    def _running_table(self, snapshot: Snapshot) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("trial", "epoch", "R (nats)", f"D ({self._unit})", "β", "M"):
            table.add_column(heading, justify="right")
        table.add_column("settings")
        for trial, epoch in snapshot.running:
            table.add_row(
                str(trial.number),
                f"{epoch.epoch if epoch else 0}/{trial.epochs}",
                f"{epoch.rate_nats:.2f}" if epoch else "–",
                f"{self._distortion(epoch):.2f}" if epoch else "–",
                f"{trial.beta:.3g}",
                str(trial.latent_dim),
                f"{trial.family}, {trial.likelihood}, {trial.reduction}, {trial.annealing}",
            )
        return table

    def _distortion(self, epoch: EpochRecord) -> float:
        nll = self._study.distortion == "nll"
        return epoch.distortion_nll_nats if nll else epoch.distortion_se


def trial_line(trial: TrialRecord, distortion: str, done: int, wanted: int) -> str:
    """A finished trial in one line: its metrics, or why it has none."""
    head = f"[{done}/{wanted}] trial {trial.number} {trial.state}"
    settings = f"β={trial.beta:.3g} M={trial.latent_dim} {trial.reduction} {trial.annealing}"
    if trial.state != "complete":
        lines = (trial.error or "no message").strip().splitlines()
        reason = lines[-1] if trial.state == "failed" else lines[0]
        return f"{head}: {reason} ({settings})"
    value, unit = trial.distortion_se, "SE"
    if distortion == "nll":
        value, unit = trial.distortion_nll_nats, "nats"
    return f"{head}: R={trial.rate_nats:.2f} nats D={value:.2f} {unit} ({settings})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
