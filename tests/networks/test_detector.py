"""The one graph: each map is what its name says, in the order that scoring expects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.networks.detector import Detector, Standardisation
from nfbmr.networks.flow import AffineCoupling, position_code
from nfbmr.networks.local import LocalGaussians
from nfbmr.networks.source import SourceNetwork
from nfbmr.scoring.maps import FINE, MAPS
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

SIZE, K, K_FINEST = (64, 96), 2, 4  # y on a grid of 8 x 12, the detail 16 x 24, the finest 32 x 48
C = 64  # channels of y; those of the detail are 24 * K * K, of the finest 16 * K_FINEST**2
AGAIN = K_FINEST // K


@pytest.fixture(scope="module", params=["bmr", "b-pfm"])
def detector(request: pytest.FixtureRequest, tiny: Settings) -> Detector:
    settings = with_changes(tiny, {"mapping": {"kind": request.param}})
    source = SourceNetwork("tf_efficientnet_lite0", (3, 2), detail=2, finest=1)
    detector = Detector(source, settings, SIZE)
    generator = torch.Generator().manual_seed(0)
    assert detector.mapping is not None
    for parameter in [*detector.flow.parameters(), *detector.mapping.parameters()]:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    detector.standardisation.mean.copy_(torch.randn(source.outputs, generator=generator))
    detector.standardisation.std.copy_(torch.rand(source.outputs, generator=generator) + 0.5)
    assert detector.subspace is not None
    mean, basis = detector.subspace.mean, detector.subspace.basis
    mean.copy_(torch.randn(mean.shape, generator=generator))
    basis.copy_(torch.linalg.qr(torch.randn(basis.shape, generator=generator)).Q)
    assert detector.gaussians is not None
    for tensor in detector.gaussians.buffers():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    for fine in (detector.local, detector.finest):
        assert fine is not None
        for tensor in fine.buffers():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        fine.directions.mul_(0.1)
        fine.rest.copy_(1 + torch.rand(fine.rest.shape, generator=generator))
    return detector


def pixels(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, *SIZE, 3), dtype=torch.uint8, generator=generator)


def test_each_map_is_what_its_name_says(detector: Detector) -> None:
    assert detector.mapping is not None
    with torch.no_grad():
        maps = detector(pixels(2)).numpy()
        features = detector.source(pixels(2)).permute(0, 2, 3, 1)
        features = (features - detector.standardisation.mean) / detector.standardisation.std
        y, detail, finest = torch.split(features, [C, 24 * K * K, 16 * K_FINEST**2], dim=-1)
        z, log_det = detector.flow(y, detector.where(y))
        assert detector.gaussians is not None
        distance = detector.gaussians(y)
        z_mt = detector.mapping.to_target(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y_ms = detector.mapping.to_source(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    of_y = {
        "source": ((y - y_ms) ** 2).sum(-1),
        "target": ((z - z_mt) ** 2).sum(-1),
        "likelihood": (z**2).sum(-1) / 2 - log_det,
        "norm": (z**2).sum(-1) / 2,
        "distance": distance,
    }
    expected = {
        name: np.kron(value.numpy(), np.ones((1, K_FINEST, K_FINEST)))
        for name, value in of_y.items()
    }
    repeated = np.ones((1, AGAIN, AGAIN))
    expected["residual"] = np.kron(residual_by_hand(detector, detail), repeated)
    expected["fine"] = np.kron(distance_by_hand(detector.local, detail), repeated)
    expected["finest"] = distance_by_hand(detector.finest, finest)
    assert maps.shape == (2, len(MAPS), 32, 48)
    for k, name in enumerate(MAPS):
        np.testing.assert_allclose(maps[:, k], expected[name], rtol=1e-4)
        for other in set(MAPS) - {name}:
            assert not np.allclose(maps[:, k], expected[other], rtol=1e-2)


def distance_by_hand(local: LocalGaussians | None, detail: Tensor) -> NDArray[np.float64]:
    """Standardised detail (B, H, W, c * k * k) to its distances, (B, k * H, k * W)."""
    assert local is not None
    shuffled = F.pixel_shuffle(detail.permute(0, 3, 1, 2).double(), local.factor)
    cells = shuffled.flatten(2).transpose(1, 2)
    white = cells @ local.whitening.double() - local.mean  # (B, P, d)
    known = torch.einsum("bpd,pdr->bpr", white, local.directions.double())
    squares = white.square().sum(-1) * local.rest - known.square().sum(-1)
    return np.asarray(squares.clamp_min(0).sqrt().reshape(-1, *shuffled.shape[2:]).numpy())


def residual_by_hand(detector: Detector, detail: Tensor) -> NDArray[np.float64]:
    """Standardised detail (B, H, W, c * k * k) to what the subspace leaves, (B, k * H, k * W)."""
    assert detector.subspace is not None
    basis = detector.subspace.basis.double()
    centred = detail.flatten(1).double() - detector.subspace.mean
    left = (centred - centred @ basis @ basis.T).reshape(detail.shape).permute(0, 3, 1, 2)
    found: NDArray[np.float64] = F.pixel_shuffle(left, K).norm(dim=1).numpy()
    return found


def test_the_residual_is_the_subspaces_of_the_standardised_detail(detector: Detector) -> None:
    assert detector.subspace is not None
    with torch.no_grad():
        maps = detector(pixels(2))
        features = detector.source(pixels(2)).permute(0, 2, 3, 1)
        parts = detector.standardised(features)
        channels = [C, 24 * K * K, 16 * K_FINEST**2]
        assert [part.shape for part in parts] == [(2, 8, 12, number) for number in channels]
        assert torch.equal(torch.cat(parts, -1), detector.standardisation(features))
        assert torch.equal(detector.standardised_y(features), parts[0])
        assert torch.equal(detector.standardised_y(features[..., :C]), parts[0])
        residual = maps[:, MAPS.index("residual"), ::AGAIN, ::AGAIN]
        assert torch.equal(residual, detector.subspace(parts[1]))


def test_fine_is_the_distance_of_the_standardised_detail_and_finest_of_the_finest(
    detector: Detector,
) -> None:
    assert detector.local is not None
    assert detector.finest is not None
    with torch.no_grad():
        maps = detector(pixels(2))
        _, detail, finest = detector.standardised(detector.source(pixels(2)).permute(0, 2, 3, 1))
        fine = maps[:, MAPS.index("fine"), ::AGAIN, ::AGAIN]
        assert torch.equal(fine, detector.local(detail))
        assert torch.equal(maps[:, MAPS.index("finest")], detector.finest(finest))


def test_maps_of_y_are_repeated_over_the_finer_cells(detector: Detector) -> None:
    with torch.no_grad():
        maps = detector(pixels(2))
    of_y = [k for k, name in enumerate(MAPS) if name not in FINE]
    cells = F.pixel_unshuffle(maps, K_FINEST).reshape(2, len(MAPS), K_FINEST**2, 8, 12)
    spread = cells.amax(dim=2) - cells.amin(dim=2)  # (B, K, H, W)
    assert not spread[:, of_y].any()
    assert spread[:, MAPS.index("residual")].min() > 0
    assert (maps[:, of_y].flatten(2).std(dim=-1) > 0).all()


def test_detail_changes_nothing_but_what_is_of_it(detector: Detector) -> None:
    with torch.no_grad():
        features = detector.source(pixels(2)).permute(0, 2, 3, 1)
        before = detector.maps(features)
        features[0, 5, 7, C] += 10  # the first channel of the cell's first finer cell
        after = detector.maps(features)
    changed = (before != after).nonzero()
    assert set(changed[:, 1].tolist()) <= {MAPS.index(name) for name in FINE}
    assert set(changed[:, 0].tolist()) == {0}
    growth = (after - before)[0, MAPS.index("residual")]
    assert divmod(int(growth.argmax()), 48) == (5 * K_FINEST, 7 * K_FINEST)


def test_without_detail_and_gaussians_there_are_no_such_maps_and_the_grid_is_that_of_y(
    detector: Detector, tiny: Settings
) -> None:
    settings = with_changes(tiny, {"gaussian": {"rank": 0}, "scoring": {"maps": ["norm"]}})
    plain = Detector(SourceNetwork("tf_efficientnet_lite0", (3, 2)), settings)
    assert plain.gaussians is None
    assert plain.subspace is None
    assert plain.local is None
    assert plain.finest is None
    with torch.no_grad():
        maps = plain(pixels(2))
        y, detail, finest = plain.standardised(plain.source(pixels(2)).permute(0, 2, 3, 1))
    assert maps.shape == (2, len(MAPS), 8, 12)
    assert not maps[:, [MAPS.index(name) for name in ("distance", *FINE)]].any()
    assert (maps[:, MAPS.index("norm")] > 0).all()
    assert (y.shape[-1], detail.shape[-1], finest.shape[-1]) == (C, 0, 0)


def test_the_subspace_has_the_pictures_grid_and_the_asked_directions(
    detector: Detector, tiny: Settings
) -> None:
    settings = with_changes(tiny, {"subspace": {"rank": 7}})
    subspace = Detector(detector.source, settings, (96, 64)).subspace
    assert subspace is not None
    assert (subspace.grid, subspace.factor) == ((12, 8), K)
    assert subspace.basis.shape == (12 * 8 * 24 * K * K, 7)
    with pytest.raises(AssertionError, match="Gaussians of the positions need the pictures' size"):
        Detector(detector.source, settings)
    changes = {"gaussian": {"rank": 0}, "scoring": {"maps": ["fine"]}}
    with pytest.raises(AssertionError, match="detail needs the pictures' size"):
        Detector(detector.source, with_changes(settings, changes))


def test_tnf_is_told_where_positions_lie_if_it_has_waves(
    detector: Detector, tiny: Settings
) -> None:
    settings = with_changes(tiny, {"flow": {"position": 3}})
    told = Detector(detector.source, settings, SIZE)
    where = told.where(torch.zeros(5, 2, 7, C))
    assert where is not None
    assert torch.equal(where, position_code((2, 7), 3, torch.device("cpu")))
    for block in told.flow.blocks:
        assert isinstance(block, AffineCoupling)
        assert block.net1.weight1.shape == (settings.flow.hidden, C // 2 + 12)
    untold = Detector(detector.source, with_changes(tiny, {"flow": {"position": 0}}), SIZE)
    assert untold.where(torch.zeros(5, 2, 7, C)) is None
    with torch.no_grad():
        assert untold(pixels(1)).isfinite().all()


def test_equal_features_score_differently_in_different_places_where_tnf_is_told(
    detector: Detector,
) -> None:
    features = torch.zeros(1, 8, 12, detector.source.outputs)
    with torch.no_grad():
        norm = detector.maps(features)[0, MAPS.index("norm"), ::K_FINEST, ::K_FINEST]
    assert len(set(norm.flatten().tolist())) == 8 * 12


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
    assert isinstance(detector.source, SourceNetwork)
    assert not any(parameter.requires_grad for parameter in detector.source.parameters())
    assert all(parameter.requires_grad for parameter in detector.mapping.parameters())


def test_a_flow_alone_has_the_same_flow_maps_and_no_mapping_errors(
    detector: Detector, tiny: Settings
) -> None:
    alone = {"mapping": {"kind": "none"}, "scoring": {"maps": ["likelihood"]}}
    flow = Detector(detector.source, with_changes(tiny, alone), SIZE)
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
