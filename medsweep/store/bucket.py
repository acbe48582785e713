"""The few operations that a store needs of a bucket, each whole or not at all, over the package ``obstore``.

Requests are tried again with growing pauses for ``RETRY_SECONDS``. Credentials, endpoint and region come from the
environment variables of S3, Google Cloud Storage and Azure, and are kept nowhere.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from medsweep.errors import UserError
from medsweep.store.location import BucketUrl

RETRIES: Final = 8
RETRY_SECONDS: Final = 45.0
PAGE: Final = 1000
"""Names that come with one request."""
PART_BYTES: Final = 2**24
"""Larger files go up in parts of this size, and come down in pieces of it."""


class BucketError(UserError):
    """The bucket cannot be reached, or refuses; says nothing about the trial that asked."""

    outcome = "store-away"


class BucketRefusedError(BucketError):
    """These credentials may not do that."""


class Tag(NamedTuple):
    """Which state of an object was seen: S3 and Azure tell by ``e_tag``, Google by ``version``."""

    e_tag: str | None
    version: str | None


class Entry(NamedTuple):
    """An object in a listing."""

    name: str
    size: int
    tag: Tag
    changed: float
    """Seconds since the epoch, by the clock of the service."""


class Bucket:
    """Objects below the prefix of ``url``, by names such as ``leases/gan/0a1b.json``.

    Every method raises BucketError where the bucket does not answer or refuses. ``backend`` is a store of ``obstore``.
    """

    def __init__(self, url: BucketUrl, backend: Any = None) -> None:
        self.url = url
        try:
            import obstore
        except ImportError:
            raise UserError(f"a store in {url.scheme}:// needs obstore; pip install 'medsweep[bucket]'") from None
        self._obstore = obstore
        self._backend = _backend(url) if backend is None else backend

    def read(self, name: str) -> tuple[bytes, Tag] | None:
        """Content and tag of an object, or None where there is none."""
        with self._told(name):
            try:
                got = self._obstore.get(self._backend, name)
                return bytes(got.bytes()), _tag(got.meta)
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                return None

    def tag(self, name: str) -> Tag | None:
        """Tag of an object, or None where there is none."""
        with self._told(name):
            try:
                return _tag(self._obstore.head(self._backend, name))
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                return None

    def put(self, name: str, content: bytes | Path) -> None:
        """Write an object, whatever is there; of a path, the content of that file."""
        with self._told(name), content.open("rb") if isinstance(content, Path) else nullcontext(content) as source:
            try:
                self._obstore.put(self._backend, name, source, chunk_size=PART_BYTES, max_concurrency=4)
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                raise BucketError(f"there is no bucket for the store {self.url}; make it, or mend its name") from None

    def create(self, name: str, content: bytes) -> Tag | None:
        """Write an object unless it is there; its tag, or None where it is there with other content."""
        return self._conditional(name, content, "create")

    def replace(self, name: str, content: bytes, tag: Tag) -> Tag | None:
        """Write an object if it is as ``tag`` says; its new tag, or None where it is not."""
        return self._conditional(name, content, {key: seen for key, seen in tag._asdict().items() if seen is not None})

    def _conditional(self, name: str, content: bytes, mode: str | Mapping[str, str]) -> Tag | None:
        errors = self._obstore.exceptions
        with self._told(name):
            try:
                return _tag(self._obstore.put(self._backend, name, content, mode=mode))
            except (errors.AlreadyExistsError, errors.PreconditionError, errors.NotFoundError, FileExistsError):
                pass
        # A request that was tried again may have found what its first try wrote, before the answer was lost.
        found = self.read(name)
        return found[1] if found is not None and found[0] == content else None

    def entries(self, prefix: str) -> Iterator[Entry]:
        """All objects whose names begin with the folder ``prefix``, in pages."""
        with self._told(prefix):
            for page in self._obstore.list(self._backend, prefix=prefix, chunk_size=PAGE):
                for meta in page:
                    yield Entry(meta["path"], meta["size"], _tag(meta), meta["last_modified"].timestamp())

    def download(self, name: str, target: Path) -> str:
        """Write an object to a new file; the sha256 of what came. Raises FileNotFoundError: there is no such object."""
        hasher = hashlib.sha256()
        with target.open("xb") as writer:
            for piece in self._pieces(name):
                hasher.update(piece)
                writer.write(piece)
        return hasher.hexdigest()

    def sha256(self, name: str) -> str:
        """The sha256 of an object. Raises FileNotFoundError: there is no such object."""
        hasher = hashlib.sha256()
        for piece in self._pieces(name):
            hasher.update(piece)
        return hasher.hexdigest()

    def _pieces(self, name: str) -> Iterator[Any]:
        with self._told(name):
            try:
                stream = self._obstore.get(self._backend, name).stream(min_chunk_size=PART_BYTES)
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                raise FileNotFoundError(2, "no such object", f"{self.url}/{name}") from None
            yield from stream

    def copy(self, name: str, target: str) -> None:
        """Copy an object inside the bucket; nothing where there is none."""
        with self._told(name):
            try:
                self._obstore.copy(self._backend, name, target)
            except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                return

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects, those that are gone already included."""
        with self._told(names[0] if names else ""):
            for start in range(0, len(names), PAGE):
                batch = list(names[start : start + PAGE])
                try:
                    self._obstore.delete(self._backend, batch)
                except (self._obstore.exceptions.NotFoundError, FileNotFoundError):
                    # Some services end a batch at the first object that is gone.
                    for name in batch:
                        with suppress(self._obstore.exceptions.NotFoundError, FileNotFoundError):
                            self._obstore.delete(self._backend, name)

    def require_conditions(self, name: str) -> None:
        """Raise BucketError unless the service keeps its word: no second creation, no change of what has changed."""
        self.put(name, b"")
        self.delete([name])
        first = self.create(name, b"first")
        kept = first is not None and self.replace(name, b"second", first) is not None
        broken = self.create(name, b"third") is not None or (first and self.replace(name, b"third", first) is not None)
        self.delete([name])
        if broken or not kept:
            raise BucketError(
                f"the service behind {self.url} ignores conditions on writing (If-None-Match, If-Match), so two runs "
                "could take one trial; use one that has them, or a folder as --store"
            )

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turn what ``obstore`` raises into one line without the query of a request, where keys may stand."""
        errors = self._obstore.exceptions
        try:
            yield
        except (errors.PermissionDeniedError, PermissionError):
            raise BucketRefusedError(f"the store {self.url} refuses: these credentials may not use {name}") from None
        except errors.UnauthenticatedError:
            raise BucketError(f"the store {self.url} refuses: it knows no such credentials; {_CREDENTIALS}") from None
        except errors.BaseError as error:
            words = re.sub(r"\?\S*", "", " ".join(str(error).split("Debug source")[0].split()))[:300]
            raise BucketError(f"the store {self.url} does not answer ({words}); {_CREDENTIALS}") from None


_CREDENTIALS = "see that its environment variables are set here (bucket, endpoint, region, credentials)"


def _backend(url: BucketUrl) -> Any:
    from obstore.store import from_url

    plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    try:
        return from_url(
            str(url),
            client_options={"allow_http": plain, "connect_timeout": "10s", "timeout": "300s"},
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=10), "base": 2},
            },
        )
    except Exception as error:
        words = re.sub(r"\?\S*", "", str(error).split("\n")[0])[:300]
        raise BucketError(f"the store {url} cannot be opened ({words}); {_CREDENTIALS}") from None


_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")


def _tag(meta: Mapping[str, Any]) -> Tag:
    return Tag(meta.get("e_tag"), meta.get("version"))
