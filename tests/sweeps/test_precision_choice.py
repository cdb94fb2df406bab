"""Matrix products are in bfloat16 where the hardware has units for it, unless the spec says otherwise."""

from pathlib import Path

import pytest
import torch

from sweeps.precision_choice import choose_precision


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("fpu sse2 avx2 avx512f", "float32"),
        ("", "float32"),
        ("fpu avx2 amx_bf16 amx_tile", "mixed"),
        ("fpu avx512f avx512_bf16", "mixed"),
    ],
)
def test_a_cpu_is_judged_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, precision: str
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nmodel name\t: some\nflags\t\t: {flags}\nbugs\t: none\n")
    monkeypatch.setattr("sweeps.precision_choice.Path", lambda _: told)
    assert choose_precision("auto", "cpu") == precision


def test_a_machine_that_does_not_tell_its_flags_has_float32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sweeps.precision_choice.Path", lambda _: tmp_path / "none")
    assert choose_precision("auto", "cpu") == "float32"


def test_of_other_devices_only_cuda_is_asked() -> None:
    assert choose_precision("auto", "mps") == "float32"


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_what_a_spec_says_holds(wanted: str) -> None:
    assert choose_precision(wanted, "cpu") == wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_is_asked() -> None:
    native = torch.cuda.get_device_capability("cuda:0") >= (8, 0)
    assert choose_precision("auto", "cuda:0") == ("bfloat16" if native else "float32")
