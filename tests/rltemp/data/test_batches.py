import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.data import BatchIndices
from rltemp.errors import InputError


def _batches(total: int, size: int, *, drop_last: bool, seed: int = 0) -> BatchIndices:
    return BatchIndices(total, size, torch.Generator().manual_seed(seed), drop_last=drop_last)


@given(st.integers(1, 60), st.data())
def test_an_epoch_holds_every_instance_once(total: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, total))
    batches = _batches(total, size, drop_last=False)
    for _ in range(3):
        epoch = list(batches)
        assert len(epoch) == len(batches)
        assert all(len(batch) == size for batch in epoch[:-1])
        assert sorted(torch.cat(epoch).tolist()) == list(range(total))


@given(st.integers(1, 60), st.data())
def test_dropping_the_last_batch_keeps_one_size(total: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, total))
    batches = _batches(total, size, drop_last=True)
    epoch = list(batches)
    assert len(epoch) == len(batches) == total // size
    assert all(len(batch) == size for batch in epoch)
    assert len(set(torch.cat(epoch).tolist())) == size * (total // size)


def test_epochs_differ_and_are_counted() -> None:
    batches = _batches(40, 10, drop_last=True)
    first, second = torch.cat(list(batches)), torch.cat(list(batches))
    assert not torch.equal(first, second)
    assert (batches.epoch, batches.position) == (2, 0)


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_resumed_run_sees_the_same_batches(taken: int, drop_last: bool) -> None:
    straight = _batches(38, 10, drop_last=drop_last)
    expected = [straight.take().tolist() for _ in range(25)]

    broken = _batches(38, 10, drop_last=drop_last)
    for _ in range(taken):
        broken.take()
    state = broken.state_dict()
    broken.take()  # what happens after saving must not reach the state

    resumed = _batches(38, 10, drop_last=drop_last, seed=99)
    resumed.load_state_dict(state)
    assert [resumed.take().tolist() for _ in range(25 - taken)] == expected[taken:]


def test_iterating_goes_on_inside_the_epoch() -> None:
    batches = _batches(40, 10, drop_last=True)
    batches.take()
    assert len(list(batches)) == 3
    assert len(list(batches)) == 4


@pytest.mark.parametrize("size", [0, 11])
def test_batches_larger_than_the_data_are_refused(size: int) -> None:
    with pytest.raises(InputError, match=rf"batch_size must lie in \[1, 10\].*got {size}"):
        _batches(10, size, drop_last=True)


def test_a_state_of_other_data_is_refused() -> None:
    with pytest.raises(InputError, match="state must be of 10 instances, got one of 12"):
        _batches(10, 2, drop_last=True).load_state_dict(_batches(12, 2, drop_last=True).state_dict())
