"""The operations of a step, against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.step_cost import step_flops
from vae_models.trainer import EpochResult, Trainer
from vae_models.vae import build_vae


@pytest.mark.parametrize("family", ["linear", "mlp", "conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 10, 13)])
def test_the_count_is_torchs_and_the_gradient_of_the_images(
    family: str, shape: tuple[int, int, int]
) -> None:
    config = TrialConfig(
        model=ModelConfig(family=family, latent_dim=5), train=TrainConfig(batch_size=8)
    )
    model = build_vae(config.model, shape, 0)
    images, noise = torch.rand(8, *shape).requires_grad_(), torch.randn(8, 5)
    with FlopCounterMode(display=False) as counter:
        terms = model(images, noise)
        (terms.distortion_nll_nats.sum() + terms.rate_nats.sum()).backward()
    assert step_flops(config, shape) == counter.get_total_flops()


def test_mixed_rounds_the_products_of_large_steps_only() -> None:
    data = load_data(DataConfig(name="digits", train_limit=256))

    def loss(width: int, precision: str) -> float:
        model = ModelConfig(hidden=(width,), latent_dim=4)
        trial = TrialConfig(model=model, train=TrainConfig(epochs=1, batch_size=128))
        (result,) = Trainer([trial], data, precision=precision)
        assert isinstance(result, EpochResult)
        return result.objective

    assert loss(32, "mixed") == loss(32, "float32") != loss(32, "bfloat16")
    assert loss(2048, "mixed") == loss(2048, "bfloat16") != loss(2048, "float32")


@pytest.mark.parametrize("first", [0, 1])
def test_mixed_goes_by_the_widest_of_a_pack_not_by_who_comes_first(first: int) -> None:
    """Alone, the narrow trial would stay in float32; with 200 latents it is 1.4e8 operations."""
    data = load_data(DataConfig(name="digits", train_limit=256))

    def trial(latents: int) -> TrialConfig:
        model = ModelConfig(hidden=(250,), latent_dim=latents)
        return TrialConfig(model=model, train=TrainConfig(epochs=1, batch_size=128))

    narrow, wide = trial(2), trial(200)
    assert step_flops(narrow, (1, 8, 8)) < 1e8 < step_flops(wide, (1, 8, 8))
    pack = [wide, narrow] if first else [narrow, wide]
    results = {r.slot: r for r in Trainer(pack, data, precision="mixed")}
    forced = {r.slot: r for r in Trainer(pack, data, precision="bfloat16")}
    for slot in (0, 1):
        one, other = results[slot], forced[slot]
        assert isinstance(one, EpochResult)
        assert isinstance(other, EpochResult)
        assert one.objective == other.objective
