"""Leases in a bucket: who holds one, when it is taken for dead, and who takes it over."""

import os
import threading
import time
from contextlib import suppress

import pytest

from helpers.buckets import new_bucket
from medsweep.store import bucket_lease, lease
from medsweep.store.bucket import Bucket
from medsweep.store.bucket_lease import RELEASED, BucketLease, LeaseWatch
from medsweep.store.lease import LeaseHeldError, LeaseLostError
from medsweep.store.location import BucketUrl


@pytest.fixture
def url(s3: dict[str, str]) -> BucketUrl:
    return new_bucket()


def beaten(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> tuple[BucketLease, Bucket]:
    """A lease that a worker of another host holds, in this process."""
    with monkeypatch.context() as there:
        there.setattr("socket.gethostname", lambda: "elsewhere")
        bucket = Bucket(url)
        return BucketLease(bucket, "leases/s/a.json", LeaseWatch(bucket)), bucket


def test_a_lease_is_held_as_long_as_it_is_renewed(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(bucket_lease, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(lease, "STALE_SECONDS", 3.0)
    held, bucket = beaten(url, monkeypatch)
    # Wall clocks that jump by days make nobody dead, and nobody alive.
    monkeypatch.setattr(time, "time", lambda: 4e9)
    watch = LeaseWatch(bucket)
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        assert watch.live("leases/s/a.json")
        time.sleep(0.2)
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        BucketLease(bucket, "leases/s/a.json", watch)
    held.release(published=False)
    assert not watch.live("leases/s/a.json")
    assert bucket.read("leases/s/a.json")[0] == RELEASED
    BucketLease(bucket, "leases/s/a.json", watch).release(published=True)
    assert bucket.read("leases/s/a.json") is None


def test_a_lease_that_stands_still_is_taken_over_by_one(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_lease, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(lease, "STALE_SECONDS", 1.0)
    silent, _ = beaten(url, monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    taken: list[BucketLease] = []

    def take() -> None:
        with suppress(LeaseHeldError):
            taken.append(BucketLease(Bucket(url), "leases/s/a.json", LeaseWatch(Bucket(url))))

    takers = [threading.Thread(target=take) for _ in range(3)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert len(taken) == 1
    silent._renew()
    with pytest.raises(LeaseLostError):
        silent.require()
    silent.release(published=False)
    taken[0].require(now=True)
    taken[0].release(published=True)


def test_a_lease_that_went_on_to_another_host_is_watched_there(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_lease, "LOOK_SECONDS", 0.0)
    watch = LeaseWatch(Bucket(url))
    ours = BucketLease(Bucket(url), "leases/s/a.json", watch)
    assert watch.live("leases/s/a.json")
    ours.release(published=False)
    silent, _ = beaten(url, monkeypatch)
    assert watch.live("leases/s/a.json")
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.0)
    assert not watch.live("leases/s/a.json"), f"taken for alive because process {os.getpid()} lives"
    silent.release(published=False)


@pytest.mark.parametrize("content", [b"not JSON", b"[1, 2]", b"null", b"\xff\xfe\xff", b'{"holder": {"pid": 1}}'])
def test_a_lease_that_names_nobody_is_taken_over_once_it_stands_still(
    url: BucketUrl, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(bucket_lease, "LOOK_SECONDS", 0.0)
    bucket = Bucket(url)
    watch = LeaseWatch(bucket)
    bucket.put("leases/s/a.json", content)
    assert watch.holder("leases/s/a.json") is None
    assert watch.live("leases/s/a.json")
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.5)
    held = BucketLease(bucket, "leases/s/a.json", watch)
    assert watch.holder("leases/s/a.json").pid == os.getpid()
    held.release(published=True)
    assert bucket.read("leases/s/a.json") is None


def test_another_container_of_this_host_is_watched(url: BucketUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.5)
    watch = LeaseWatch(Bucket(url))
    ours = BucketLease(Bucket(url), "leases/s/a.json", watch)
    with monkeypatch.context() as other:
        other.setattr(lease, "pid_namespace", lambda: "pid:[other]")
        assert watch.living("leases") is None, "its process is not asked for, and it is not renewed"
    assert watch.living("leases") is not None
    ours.release(published=False)
    assert watch.living("leases") is None
