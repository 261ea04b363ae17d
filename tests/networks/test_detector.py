"""The one graph: each map is what its name says, in the order that scoring expects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nfbmr.config import Settings, with_changes
from nfbmr.networks.backbone import SourceNetwork
from nfbmr.networks.detector import Detector, Standardisation
from nfbmr.scoring import MAPS


@pytest.fixture(scope="module", params=["bmr", "b-pfm"])
def detector(request: pytest.FixtureRequest, tiny: Settings) -> Detector:
    settings = with_changes(tiny, {"mapping": {"kind": request.param}})
    source = SourceNetwork("tf_efficientnet_lite0", (3, 2))
    detector = Detector(source, settings)
    generator = torch.Generator().manual_seed(0)
    assert detector.mapping is not None
    for parameter in [*detector.flow.parameters(), *detector.mapping.parameters()]:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    detector.standardisation.mean.copy_(torch.randn(source.channels, generator=generator))
    detector.standardisation.std.copy_(torch.rand(source.channels, generator=generator) + 0.5)
    return detector


def pixels(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 64, 96, 3), dtype=torch.uint8, generator=generator)


def test_each_map_is_what_its_name_says(detector: Detector) -> None:
    assert detector.mapping is not None
    with torch.no_grad():
        maps = detector(pixels(2)).numpy()
        y = detector.source(pixels(2)).permute(0, 2, 3, 1)
        y = (y - detector.standardisation.mean) / detector.standardisation.std
        z, log_det = detector.flow(y)
        z_mt = detector.mapping.to_target(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y_ms = detector.mapping.to_source(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    expected = {
        "source": ((y - y_ms) ** 2).sum(-1),
        "target": ((z - z_mt) ** 2).sum(-1),
        "likelihood": (z**2).sum(-1) / 2 - log_det,
        "norm": (z**2).sum(-1) / 2,
    }
    assert maps.shape == (2, len(MAPS), 8, 12)
    for k, name in enumerate(MAPS):
        np.testing.assert_allclose(maps[:, k], expected[name].numpy(), rtol=1e-4)
        for other in set(MAPS) - {name}:
            assert not np.allclose(maps[:, k], expected[other].numpy(), rtol=1e-2)


def test_a_picture_scores_the_same_alone_and_among_others(detector: Detector) -> None:
    with torch.no_grad():
        together = detector(pixels(3))
        alone = torch.cat([detector(picture[None]) for picture in pixels(3)])
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_detector_stays_in_evaluation_mode_and_only_learns_flow_and_mapping(
    detector: Detector,
) -> None:
    assert detector.mapping is not None
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.requires_grad for parameter in detector.source.parameters())
    assert all(parameter.requires_grad for parameter in detector.mapping.parameters())


def test_a_flow_alone_has_the_same_flow_maps_and_no_mapping_errors(
    detector: Detector, tiny: Settings
) -> None:
    alone = {"mapping": {"kind": "none"}, "scoring": {"maps": ["likelihood"]}}
    flow = Detector(detector.source, with_changes(tiny, alone))
    flow.load_state_dict(
        {k: v for k, v in detector.state_dict().items() if not k.startswith("mapping")}
    )
    with torch.no_grad():
        expected, found = detector(pixels(2)), flow(pixels(2))
    assert expected[:, :2].abs().min() > 0
    assert torch.equal(found[:, 2:], expected[:, 2:])
    assert not found[:, :2].any()


def test_standardisation_agrees_with_numpy() -> None:
    rows = np.random.default_rng(0).normal(3, 2, (5, 2, 3, 4)).astype(np.float32)
    rows[..., 2] = 7.25  # never moves
    standardisation = Standardisation(4)
    standardisation.learn(torch.from_numpy(part) for part in np.split(rows, [1, 3]))
    flat = rows.reshape(-1, 4).astype(np.float64)
    moving = [0, 1, 3]
    np.testing.assert_allclose(standardisation.mean.numpy(), flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(standardisation.std.numpy()[moving], flat.std(0)[moving], rtol=1e-6)
    assert standardisation.std[2] == 1
    z = standardisation(torch.from_numpy(rows)).numpy()
    assert (z[..., 2] == 0).all()
    np.testing.assert_allclose(z[..., moving].reshape(-1, 3).std(0), 1, rtol=1e-5)


def test_standardisation_is_exact_far_from_zero() -> None:
    rows = 1e3 + torch.randn(4096, 1, generator=torch.Generator().manual_seed(0)) * 1e-2
    standardisation = Standardisation(1)
    standardisation.learn(iter([rows]))
    assert standardisation.std.item() == pytest.approx(rows.double().std().item(), rel=1e-3)
