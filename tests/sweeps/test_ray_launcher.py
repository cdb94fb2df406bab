"""Workers on a real Ray cluster of two nodes on this machine, one of which fails."""

from collections.abc import Iterator
from typing import Any

import pytest

from launcher_contract import LauncherContract
from ray_cluster import RayCluster, ray_cluster
from sweeps.launcher import Launcher, WorkerPlan
from sweeps.ray_launcher import RayLauncher


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(cpus=4) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.settings.items():
            patch.setenv(name, value)
        yield running


class TestRayLauncher(LauncherContract):
    patience_seconds = 240.0

    @pytest.fixture(autouse=True)
    def _on(self, cluster: RayCluster) -> None:
        self.address = cluster.address

    def more(self) -> dict[str, Any]:
        return {"ray_address": self.address}

    def build(self, plan: WorkerPlan) -> Launcher:
        return RayLauncher(plan)

    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        from dataclasses import replace

        return RayLauncher(replace(plan, ray_address="127.0.0.1:1")), "No Ray cluster answers at"
