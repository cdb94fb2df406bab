"""Which launcher starts the workers of a run; those of Ray and Slurm are loaded on demand."""

from sweeps.launcher import Launcher, LauncherKind, WorkerPlan

__all__ = ["build_launcher"]


def build_launcher(kind: LauncherKind, plan: WorkerPlan) -> Launcher:
    """The launcher of that kind; nothing is started yet.

    Args:
        kind: its name, as in `run.launcher`.
        plan: what each worker is to be.

    Raises:
        SweepError: a package that it needs is missing.
    """
    match kind:
        case "ray":
            from sweeps.ray_launcher import RayLauncher

            return RayLauncher(plan)
        case "slurm":
            from sweeps.slurm_launcher import SlurmLauncher

            return SlurmLauncher(plan)
        case "manual":
            from sweeps.manual_launcher import ManualLauncher

            return ManualLauncher(plan)
        case "local":
            from sweeps.local_launcher import LocalLauncher

            return LocalLauncher(plan)
