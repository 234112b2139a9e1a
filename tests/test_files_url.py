"""What `files` may be."""

from __future__ import annotations

import pytest

from sweeper import files_url
from sweeper.errors import SweepError


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/sweeps/",
        "gs://bucket/a/b",
        "file:///mnt/shared",
        "abfs://container@account.dfs.core.windows.net/sweeps",
        "sftp://me@host/sweeps",
    ],
)
def test_folders_of_stores(url: str) -> None:
    files_url.check(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/mnt/shared", "not the URL of a folder"),
        ("memory://x", "nothing that all nodes can write to"),
        ("https://host/x", "nothing that all nodes can write to"),
        ("s3://", "without a bucket"),
        ("s3://KEY:hush@bucket/x", "a URL with a login"),
        ("s3://KEY@bucket/x", "a URL with a login"),
        ("sftp://me:hush@host/x", "a URL with a login"),
        ("s3://bucket/x?secret=hush", "a URL with options"),
        ("s3://bucket/x#hush", "a URL with options"),
        ("s3://bucket/../hush", "a path with"),
        ("s3://bucket//hush", "a path with"),
        ("s3://bucket/a\\..\\hush", "not the URL of one folder"),
        ("simplecache::s3://bucket/hush", "not the URL of a folder"),
        ("file://host/hush", "not the absolute path"),
        ("file:///", "not the absolute path"),
        ("s3://bucket/hush hush", "not the URL of one folder"),
        ("s3://[bucket/hush", "not the URL of a folder"),
    ],
)
def test_what_is_refused_is_not_shown(url: str, said: str) -> None:
    with pytest.raises(SweepError, match=rf"^files: .*{said}") as caught:
        files_url.check(url)
    assert "hush" not in str(caught.value)
