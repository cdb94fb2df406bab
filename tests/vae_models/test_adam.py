"""Our Adam is torch's."""

import subprocess
import sys

import pytest
import torch

from vae_models.adam import Adam


def _parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 5), (5,), (), (2, 3, 4)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def test_thirty_steps_are_those_of_torch_bit_for_bit() -> None:
    ours, theirs = _parameters(), _parameters()
    adam, reference = Adam(ours), torch.optim.Adam(theirs, fused=True)
    for step in range(30):
        rate = 0.1 / (step + 1)
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = (parameter.detach() - step).sin()
        reference.param_groups[0]["lr"] = rate
        adam.step(rate)
        reference.step()
    assert all(map(torch.equal, ours, theirs))
    for state, parameter in zip(adam.states, theirs, strict=True):
        expected = reference.state[parameter]
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state)


def test_what_has_no_gradient_stays_as_it_is() -> None:
    one, other = _parameters()[:2]
    before = other.detach().clone()
    one.grad = torch.ones_like(one)
    adam = Adam([one, other])
    adam.step(0.1)
    assert torch.equal(other, before)
    assert [int(state["step"]) for state in adam.states] == [1, 0]
    adam.zero_grad()
    assert one.grad is None


def test_states_of_another_shape_are_refused() -> None:
    adam = Adam(_parameters()[:1])
    state = {name: torch.zeros(2) for name in adam.states[0]}
    with pytest.raises(RuntimeError, match=r"0\.step has shape \(2,\), not \(\)"):
        adam.load({0: state})
    with pytest.raises(KeyError, match="there is no parameter 3"):
        adam.load({3: {}})


def test_a_training_does_not_import_the_compiler() -> None:
    """Which takes longer than the first epoch of many a trial."""
    program = (
        "import sys\n"
        "from vae_models.config import *\n"
        "from vae_models.data import load_data\n"
        "from vae_models.data_config import DataConfig\n"
        "from vae_models.trainer import Trainer\n"
        "data = load_data(DataConfig(name='digits', train_limit=64))\n"
        "for slots in (1, 2):\n"
        "    trial = TrialConfig(train=TrainConfig(epochs=1, batch_size=32))\n"
        "    list(Trainer([trial], data, slots=slots))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
