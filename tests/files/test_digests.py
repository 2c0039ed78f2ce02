"""Digests are formats: caches and work folders hold them, so they must not change."""

import hashlib
from pathlib import Path

from dynamicid.files.digests import digest, digest_of_networks, sha256_hex, sha256_of_files


def test_sha256_of_texts_bytes_and_files(tmp_path: Path):
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex("abc") == sha256_hex(b"abc") == abc
    assert sha256_hex("\udcff") == hashlib.sha256(b"\xed\xb3\xbf").hexdigest()
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "bc").write_bytes(b"bc")
    assert sha256_of_files(tmp_path / "a", tmp_path / "bc") == abc
    large = bytes(range(256)) * 8193
    (tmp_path / "large").write_bytes(large)
    assert sha256_of_files(tmp_path / "large") == hashlib.sha256(large).hexdigest()


def test_digests_of_part_records_stay_as_they_are(tmp_path: Path):
    (tmp_path / "table").write_bytes(b"abc")
    listed = digest("decoded", [1, {"b": 2, "a": None}])
    assert listed == hashlib.sha256(b'"decoded"[1, {"a": null, "b": 2}]').hexdigest()
    assert digest(tmp_path / "table") == hashlib.sha256(hashlib.sha256(b"abc").digest()).hexdigest()


def test_networks_are_known_by_content_and_not_by_name(tmp_path: Path):
    for name, content in (("unet/b.safetensors", b"b"), ("unet/a.bin", b"a"), ("unet/notes.txt", b"no network")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "c.onnx").write_bytes(b"c")
    expected = hashlib.sha256(b"abc").hexdigest()[:16]
    assert digest_of_networks([tmp_path / "unet", tmp_path / "c.onnx"]) == expected
    (tmp_path / "unet").rename(tmp_path / "other")
    assert digest_of_networks([tmp_path / "other", tmp_path / "c.onnx"]) == expected
    assert digest_of_networks([tmp_path / "nothing"]) == ""
