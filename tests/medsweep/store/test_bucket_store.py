"""A store in a bucket: what lies on this machine is a copy, and what is of another version is left alone."""

import json
from pathlib import Path

import obstore
import pytest
from typer.testing import CliRunner

from helpers.buckets import new_bucket
from helpers.caching import publish
from helpers.micro import write_micro
from medsweep.cli import app
from medsweep.errors import UserError
from medsweep.files import on_this_machine
from medsweep.store.bucket import Bucket
from medsweep.store.bucket_trial import EVERY
from medsweep.store.location import BucketUrl
from medsweep.store.opening import cache_for, open_store, store_at
from medsweep.store.store import DamagedError, UnreadableError
from medsweep.store.workspace import Workspace


@pytest.fixture
def url(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketUrl:
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    url = new_bucket()
    open_store(url, "run")
    return url


def test_what_changed_on_this_machine_is_brought_again(url: BucketUrl) -> None:
    store = store_at(url)
    digest = publish(store, "a")
    path = store.output("s", digest) / "b.txt"
    path.chmod(0o644)
    path.write_text("rotten")
    assert store_at(url).verify("s", digest).files
    assert path.read_text() == "a"


def test_a_manifest_of_a_newer_format_is_left_where_it_is(url: BucketUrl) -> None:
    store, bucket = store_at(url), Bucket(url)
    digest = publish(store, "a")
    name = f"published/s/{digest}.json"
    content = json.dumps({**json.loads(bucket.read(name)[0]), "format": 2}).encode()
    bucket.put(name, content)
    for look in (store_at(url).outcome, store_at(url).verify, store_at(url).output):
        with pytest.raises(UnreadableError, match="was published by another version of medsweep"):
            look("s", digest)
    assert bucket.read(name)[0] == content


@pytest.mark.parametrize("content", [b"[]", b'"x"', b'{"format": 1}', b'{"format": 1, "files": []}', b"{"])
def test_a_manifest_of_another_shape_is_damage(url: BucketUrl, content: bytes) -> None:
    digest = publish(store_at(url), "a")
    Bucket(url).put(f"published/s/{digest}.json", content)
    for look in (store_at(url).outcome, store_at(url).verify):
        with pytest.raises(DamagedError, match=r"published/s/.*\.json cannot be read"):
            look("s", digest)
    assert isinstance(store_at(url).look([("s", digest)])[digest], DamagedError)


def test_credentials_that_may_only_read_are_enough_to_look(
    url: BucketUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise obstore.exceptions.PermissionDeniedError("403 Forbidden")

    digest = publish(store_at(url), "a")
    monkeypatch.setattr(obstore, "put", refuse)
    words = [str(write_micro(tmp_path)), "--store", str(url)]
    for command in ("plan", "status"):
        shown = CliRunner().invoke(app, [command, *words])
        assert shown.exit_code == 0, shown.output
    assert open_store(url, "read").output("s", digest).is_dir()
    refused = CliRunner().invoke(app, ["run", *words, "--runner", "local"])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output
    assert f"the store {url} refuses: these credentials may not use" in refused.output


@pytest.mark.parametrize("purpose", ["plan", "run", "read"])
def test_a_store_of_another_layout_is_refused(url: BucketUrl, purpose: str) -> None:
    Bucket(url).put("store.json", b'{"format": 2}')
    with pytest.raises(UserError, match=r"/store.json is of another version of medsweep"):
        open_store(url, purpose)


def test_a_working_folder_is_named_by_each_machines_own_environment(
    url: BucketUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCAL_DISK", str(tmp_path / "disk"))
    for given, folder in (("~/work", tmp_path / "work"), ("${LOCAL_DISK}/work", tmp_path / "disk" / "work")):
        monkeypatch.setenv("MEDSWEEP_WORK", given)
        assert store_at(url).root == folder / url.folder_name
        cache = cache_for(None, url)
        assert cache is not None
        assert on_this_machine(cache.root) == folder / "copies"


def test_a_working_folder_that_is_a_file_is_one_line(
    url: BucketUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\); set MEDSWEEP_WORK"):
        open_store(url, "run")


@pytest.mark.parametrize("text", ["often", "-1", "nan"])
def test_a_pause_between_uploads_that_is_no_time_holds_no_trial(
    url: BucketUrl, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(EVERY, text)
    store = store_at(url)
    with pytest.raises(UserError, match=f"{EVERY}={text} is no time"), Workspace(store, "s", "a" * 64):
        pass
    assert not store.leased("s", "a" * 64)
    assert list(Bucket(url).entries("leases")) == []
