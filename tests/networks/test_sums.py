"""What workers learn in closed form of their shares is what one learns of the whole."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
import torch
from torch import Tensor, nn

from nfbmr.networks.detector import Standardisation
from nfbmr.networks.gaussian import PositionGaussians
from nfbmr.networks.local import LocalGaussians
from nfbmr.networks.subspace import Subspace
from nfbmr.networks.sums import Batches, Sums, Together, alone

GRID, K, C = (3, 4), 2, 5
N, SEED = 83, 7


def pictures(n: int = N, seed: int = 0) -> Tensor:
    """Features (n, H, W, C * K * K) that differ in mean and spread from place to place."""
    places = torch.Generator().manual_seed(9)
    shape = (*GRID, C * K * K)
    turn = torch.randn(*shape, shape[-1], generator=places) / 3
    x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("nhwc,hwcd->nhwd", x, turn) + torch.randn(shape, generator=places)


def batches_of(y: Tensor) -> Batches:
    return lambda: iter(torch.split(y, 7))


class Workers:
    """Joins the sums of threads, each of which stands for a worker."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._barrier = Barrier(count)
        self._given: list[Sums] = []

    def run(self, work: Callable[[int, Together], None]) -> None:
        """Has each do its work, with its number from 0."""
        threads = [Thread(target=work, args=(rank, self._together)) for rank in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _together(self, sums: Sums) -> None:
        self._given.append(sums)
        if self._barrier.wait() == 0:
            whole = Sums(**{name: part.clone() for name, part in self._given[0].parts.items()})
            for other in self._given[1:]:
                whole.merge(other)
            for one in self._given:
                for name, part in one.parts.items():
                    part.copy_(whole.parts[name])
            self._given.clear()
        self._barrier.wait()


def learn(part: nn.Module, mine: Tensor, everything: Tensor, together: Together) -> None:
    match part:
        case Standardisation():
            part.learn(batches_of(mine)(), together)
        case PositionGaussians():
            part.learn(batches_of(mine), together=together, some=batches_of(everything))
        case LocalGaussians():
            part.learn(batches_of(mine), SEED, together=together, some=batches_of(everything))
            part.measure_own(batches_of(everything), SEED)
        case Subspace():
            part.learn(batches_of(mine), SEED, together=together)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "standardisation": lambda: Standardisation(C * K * K),
    "gaussians": lambda: PositionGaussians(GRID, C * K * K, 9),
    "local": lambda: LocalGaussians(GRID, C * K * K, K, 3),
    "subspace": lambda: Subspace(GRID, C * K * K, K, 6),
}


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("name", MAKERS)
def test_shares_give_what_the_whole_gives(name: str, workers: int) -> None:
    good, new = pictures(), pictures(6, seed=1)
    whole = MAKERS[name]()
    learn(whole, good, good, alone)
    parts = [MAKERS[name]() for _ in range(workers)]
    shares = torch.tensor_split(good, workers)
    Workers(workers).run(lambda rank, together: learn(parts[rank], shares[rank], good, together))
    expected = whole(new)
    assert float(expected.std()) > 0
    for part in parts:
        torch.testing.assert_close(part(new), expected, rtol=1e-3, atol=1e-3)
        for key, tensor in parts[0].state_dict().items():
            assert torch.equal(part.state_dict()[key], tensor), "all workers know the same"


def test_a_share_alone_is_not_the_whole() -> None:
    """Else the test above could not fail."""
    good, new = pictures(), pictures(6, seed=1)
    whole, half = PositionGaussians(GRID, C * K * K, 9), PositionGaussians(GRID, C * K * K, 9)
    whole.learn(batches_of(good))
    half.learn(batches_of(good[:40]))
    assert not torch.allclose(half(new), whole(new), rtol=1e-3, atol=1e-3)


def test_sums_merge_name_by_name() -> None:
    one = Sums(total=torch.tensor([1.0, 2.0]), images=torch.tensor(3))
    one.merge(Sums(images=torch.tensor(4), total=torch.tensor([10.0, 20.0])))
    assert one.parts["total"].tolist() == [11.0, 22.0]
    assert int(one.parts["images"]) == 7
