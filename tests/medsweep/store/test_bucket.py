"""What a store asks of a bucket, of one in memory and of one behind a server of S3."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from helpers.buckets import new_bucket
from medsweep.errors import UserError
from medsweep.store import bucket as buckets
from medsweep.store.bucket import Bucket, BucketError, Tag
from medsweep.store.location import BucketUrl, location


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    if request.param == "memory":
        return Bucket(BucketUrl("s3", "in-memory"), MemoryStore())
    request.getfixturevalue("s3")
    return Bucket(new_bucket())


def test_an_object_is_made_by_one_only(bucket: Bucket) -> None:
    assert bucket.read("leases/a") is None
    made = [None] * 8

    def make(number: int) -> None:
        made[number] = bucket.create("leases/a", b"%d" % number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number in range(8) if made[number] is not None]
    assert bucket.read("leases/a") == (b"%d" % winner, made[winner])


def test_an_object_is_replaced_by_who_knows_its_state(bucket: Bucket) -> None:
    first = bucket.create("lease", b"first")
    second = bucket.replace("lease", b"second", first)
    assert second is not None
    assert second != first
    assert bucket.tag("lease") == second
    assert bucket.replace("lease", b"third", first) is None
    assert bucket.read("lease") == (b"second", second)
    bucket.delete(["lease"])
    assert bucket.replace("lease", b"fourth", second) is None
    assert bucket.read("lease") is None


def test_a_write_whose_answer_was_lost_counts_as_ours(bucket: Bucket) -> None:
    tag = bucket.create("lease", b"ours")
    assert bucket.create("lease", b"ours") == tag
    later = bucket.replace("lease", b"ours again", tag)
    assert bucket.replace("lease", b"ours again", tag) == later


def test_listings_come_in_pages_and_hold_a_folder_only(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAGE", 4)
    for number in range(11):
        bucket.put(f"published/gan/{number:02}", b"x" * number)
    bucket.put("published/gan-2/00", b"")
    found = sorted(bucket.entries("published/gan"))
    assert [(entry.name, entry.size) for entry in found] == [(f"published/gan/{n:02}", n) for n in range(11)]
    assert found[3].tag == bucket.tag("published/gan/03")
    assert list(bucket.entries("published/none")) == []


def test_files_go_up_and_come_down_in_parts(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PART_BYTES", 5 * 2**20)
    content = os.urandom(11 * 2**20 + 7)
    (tmp_path / "file").write_bytes(content)
    bucket.put("files/file", tmp_path / "file")
    assert bucket.download("files/file", tmp_path / "again") == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "again").read_bytes() == content
    bucket.copy("files/file", "damaged/file")
    assert bucket.tag("damaged/file") is not None
    with pytest.raises(FileNotFoundError):
        bucket.download("files/none", tmp_path / "none")


def test_deleting_what_is_gone_is_fine(bucket: Bucket) -> None:
    bucket.put("a", b"a")
    bucket.delete(["a", "b"])
    bucket.delete([])
    assert bucket.read("a") is None


def test_deleting_goes_on_where_a_service_ends_at_what_is_gone(tmp_path: Path) -> None:
    bucket = Bucket(BucketUrl("s3", "on-this-disk"), LocalStore(str(tmp_path)))
    names = [f"{number:02}" for number in range(40)]
    for name in names[1:]:
        bucket.put(name, b"")
    bucket.delete(names)
    assert list(bucket.entries("")) == []


def test_a_service_without_conditions_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.require_conditions("probe")
    monkeypatch.setattr(bucket, "create", lambda name, content: Tag("x", None))
    with pytest.raises(BucketError, match="ignores conditions on writing"):
        bucket.require_conditions("probe")


def test_no_credentials_in_messages_or_urls(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BucketError, match="no bucket for the store s3://nowhere-at-all") as missing:
        Bucket(BucketUrl("s3", "nowhere-at-all")).put("a", b"")
    monkeypatch.setattr(buckets, "RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BucketError, match="does not answer") as silent:
        Bucket(BucketUrl("s3", "somewhere")).read("a")
    for told in (str(missing.value), str(silent.value)):
        assert s3["AWS_SECRET_ACCESS_KEY"] not in told
        assert s3["AWS_ACCESS_KEY_ID"] not in told
        assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ftp://a/b", "no store has such a URL"),
        ("s3://key:secret@bucket/a", "credentials are read from the environment"),
        ("s3://", "names no bucket"),
        ("s3://bucket/../other", "names no bucket"),
        ("s3://bucket//other", "names no bucket"),
        ("az://container/a?sig=secret", "credentials are read from the environment"),
    ],
)
def test_urls_that_name_no_bucket(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        location(text)
    assert "secret" not in str(error.value)


def test_where_a_store_is() -> None:
    assert location("store") == Path("store")
    assert location("s3://bucket/a/b/") == BucketUrl("s3", "bucket/a/b")
    assert location(str(Path("s3://bucket/a"))) == BucketUrl("s3", "bucket/a")
    assert location("s3://bucket/a").folder_name != location("s3://bucket-a").folder_name


def test_without_obstore_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from medsweep.store.bucket import Bucket\n"
        "from medsweep.store.location import BucketUrl\n"
        "try: Bucket(BucketUrl('s3', 'b'))\n"
        "except ValueError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "a store in s3:// needs obstore; pip install 'medsweep[bucket]'\n"
