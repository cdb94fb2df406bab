"""Workers on a Ray cluster: one actor for each, wherever its nodes have room."""

import importlib.util
import math
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from sweeps.devices import Placement
from sweeps.errors import SweepError, SweepWarning
from sweeps.launcher import (
    LEFT_EARLY,
    MAX_RESTARTS,
    Launcher,
    LauncherKind,
    WorkerEnd,
    WorkerPlan,
)
from sweeps.ray_connection import RayConnection
from sweeps.ray_messages import (
    Connected,
    Ended,
    KillWorkers,
    Node,
    Placed,
    StartWorker,
    StopWorkers,
    WithdrawWorkers,
)
from sweeps.storage import VARIABLE
from sweeps.worker_process import end_in_words, worker_words

__all__ = ["RayLauncher"]

KILL_SECONDS = 30.0
