"""Spoilt containers: what is wrong before any network is looked at."""

import copy
import io
import json
import os
import pickle
import types
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from .malformed_registry import CANARY, CallsOnLoad, bytes_file, malformed, pickle_of
from .small_files import published_saa

MKDIR = f"it asks Python to call '{os.mkdir.__module__}.mkdir'"


def _truncated(name: str, fraction: float, legacy: bool, expected: str) -> None:
    @malformed(name, expected)
    def write(folder: Path) -> Path:
        path = folder / f"{name}.bin"
        torch.save(published_saa(), path, _use_new_zipfile_serialization=not legacy)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * fraction)])
        return path


def _safetensors_bytes(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


bytes_file("empty", "empty.bin", b"", "is empty")
bytes_file("empty_safetensors", "empty.safetensors", b"", "is empty")
bytes_file("one_byte", "one_byte.bin", b"\x80", "it breaks off in its first bytes")
bytes_file("text_file", "text_file.bin", b"these are no weights\n" * 40, "not a PyTorch file")
bytes_file("text_safetensors", "text.safetensors", b"these are no weights\n" * 40, "not a safetensors file")
bytes_file("web_page", "web_page.bin", b"<!DOCTYPE html><html>Sign in</html>", "is a web page")
bytes_file("lfs_pointer", "lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid 0\n", "Git LFS pointer")
bytes_file("gguf", "gguf.bin", b"GGUF\x03\x00\x00\x00" + bytes(64), "is a GGUF model")
bytes_file("noise", "noise.bin", bytes(range(255, 0, -1)) * 8, "not a PyTorch file")
bytes_file("wrong_extension", "weights.ckpt", b"PK\x03\x04" + bytes(64), "has the extension '.ckpt'")
bytes_file("zip_head_only", "zip_head_only.bin", b"PK\x03\x04" + bytes(64), "its archive has no readable end")
bytes_file("plain_pickle", "plain_pickle.bin", pickle.dumps({"a": 1}), "not one of PyTorch tensors")
bytes_file("header_claims_exabytes", "exabytes.safetensors", b"\xff" * 7 + b"\x7f{", "not a safetensors file")
bytes_file(
    "header_too_long", "long.safetensors", _safetensors_bytes(b"{}", length=4000), "header should take 4000 bytes"
)
bytes_file(
    "header_a_little_too_long", "longer.safetensors", _safetensors_bytes(b"{}", length=6), "header should take 6"
)
bytes_file(
    "header_of_17_megabytes",
    "header_of_17_megabytes.safetensors",
    _safetensors_bytes(b"{" + b" " * (17 << 20) + b"}"),
    "it claims 17825794 bytes, more than any weight file needs",
)
bytes_file("header_no_json", "no_json.safetensors", _safetensors_bytes(b"{nonsense}"), "not readable JSON")
bytes_file("header_a_list", "list.safetensors", _safetensors_bytes(b"[1, 2]"), "no table of tensors")
bytes_file("header_nested", "nested.safetensors", _safetensors_bytes(b'{"a":' * 50_000), "not readable JSON")
bytes_file(
    "truncated_with_an_unsorted_header",
    "unsorted.safetensors",
    _safetensors_bytes(
        b'{"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(8),
    ),
    "its header promises 12 bytes of tensors, 8 are there",
)
bytes_file("header_no_tensors", "none.safetensors", _safetensors_bytes(b"{}      "), "holds no tensors")
bytes_file(
    "header_incomplete", "incomplete.safetensors", _safetensors_bytes(b'{"a":{"dtype":"F32"}}'), "'a' is incomplete"
)
bytes_file(
    "header_negative",
    "negative.safetensors",
    _safetensors_bytes(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
    "impossible numbers",
)
bytes_file(
    "header_wrong_shape",
    "wrong_shape.safetensors",
    _safetensors_bytes(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}', bytes(4)),
    "does not fit its 4 bytes",
)
bytes_file(
    "header_overlapping",
    "overlapping.safetensors",
    _safetensors_bytes(
        json.dumps({key: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for key in "ab"}).encode(), bytes(4)
    ),
    "broken safetensors header: SafetensorError",
)

for _percent in (10, 50, 90, 99):
    _truncated(f"zip_{_percent}_percent", _percent / 100, False, "its archive has no readable end")
    _truncated(f"legacy_{_percent}_percent", _percent / 100, True, "PyTorch cannot read it")
_truncated("legacy_first_bytes", 0.00001, True, "it breaks off or is damaged")


@malformed("safetensors_truncated", "promises 2000 bytes of tensors, 1900 are there")
def _safetensors_truncated(folder: Path) -> Path:
    path = folder / "truncated.safetensors"
    save_file({"projector.norm.weight": torch.ones(500)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    return path


@malformed("folder", "is a folder")
def _folder(folder: Path) -> Path:
    path = folder / "folder.bin"
    path.mkdir()
    return path


@malformed("missing", "does not exist")
def _missing(folder: Path) -> Path:
    return folder / "missing.bin"


@malformed("plain_zip", "not of PyTorch tensors")
def _plain_zip(folder: Path) -> Path:
    path = folder / "plain_zip.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path


@malformed("zip_bomb", "compressed or unpacks to more than its own size")
def _zip_bomb(folder: Path) -> Path:
    path = folder / "zip_bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", bytes(50_000_000))
    return path


@malformed("compressed_tensors", "compressed or unpacks to more than its own size")
def _compressed_tensors(folder: Path) -> Path:
    """Of random bytes, which take no less room compressed; torch would map the archive's bytes as numbers."""
    path, plain = folder / "compressed_tensors.bin", io.BytesIO()
    torch.save({"proj_module": {"norm.weight": torch.randint(256, (9000,), dtype=torch.uint8)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return path


@malformed("members_over_each_other", "compressed or unpacks to more than its own size")
def _members_over_each_other(folder: Path) -> Path:
    """One tensor's bytes, listed under a thousand names; nothing is compressed."""
    path = folder / "members_over_each_other.bin"
    torch.save({"proj_module": {"norm.weight": torch.zeros(9000)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        tensor = max(archive.infolist(), key=lambda member: member.file_size)
        for number in range(1000):
            twin = copy.copy(tensor)
            twin.filename = f"{tensor.filename}{number}"
            archive.filelist.append(twin)
        archive.writestr("archive/last", b"")  # The list of members is written again.
    return path


@malformed("pickle_of_17_megabytes", "of instructions beside its tensors")
def _huge_pickle(folder: Path) -> Path:
    path = folder / "huge_pickle.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"}0" * (17 << 19) + b"}.")
    return path


@malformed("torchscript", "'a TorchScript program'")
def _torchscript(folder: Path) -> Path:
    path = folder / "torchscript.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/code/__torch__.py", "x = 1")
    return path


for _protocol in (0, 2, 4):

    @malformed(f"code_in_plain_pickle_{_protocol}", MKDIR)
    def _code(folder: Path, protocol: int = _protocol) -> Path:
        path = folder / f"code_{protocol}.bin"
        path.write_bytes(pickle.dumps(CallsOnLoad(os.mkdir, str(folder / CANARY)), protocol=protocol))
        return path


@malformed("renamed_safetensors", "is a safetensors file by its contents")
def _renamed_safetensors(folder: Path) -> Path:
    save_file({"projector.norm.weight": torch.ones(4)}, folder / "x.safetensors")
    return (folder / "x.safetensors").rename(folder / "renamed.bin")


@malformed("renamed_pickle", "is a PyTorch pickle by its contents")
def _renamed_pickle(folder: Path) -> Path:
    path = folder / "renamed.safetensors"
    torch.save(published_saa(), path)
    return path


@malformed("endless_storage", "it declares 1.1e+12 values")
def _endless_storage(folder: Path) -> Path:
    """A legacy file that declares a storage of 2^40 values."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1_000_003)}, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    small, large = b"J" + (1_000_003).to_bytes(4, "little"), b"\x8a\x06" + (2**40).to_bytes(6, "little")
    assert small in data
    path = folder / "endless_storage.bin"
    path.write_bytes(data.replace(small, large)[:5000])
    return path


pickle_of("code_in_zip", MKDIR, lambda folder: {"a": CallsOnLoad(os.mkdir, str(folder / CANARY))})
pickle_of(
    "code_in_legacy",
    MKDIR,
    lambda folder: {"a": CallsOnLoad(os.mkdir, str(folder / CANARY))},
    True,
)
pickle_of(
    "code_evaluated",
    "'__builtin__.eval'",
    lambda folder: CallsOnLoad(eval, f"__import__('os').mkdir({str(folder / CANARY)!r})"),
)
pickle_of("pickled_class", "'types.SimpleNamespace'", lambda _: {"args": types.SimpleNamespace(rank=128)})
pickle_of("pickled_module", "'torch.nn.modules.linear.Linear'", lambda _: nn.Linear(2, 2))
pickle_of("a_list", "holds one list", lambda _: [torch.ones(2)])
pickle_of("a_tensor", "holds one Tensor", lambda _: torch.ones(2))
pickle_of("no_tensors", "holds no tensors", lambda _: {})
pickle_of("a_number_inside", "type int under 'epoch'", lambda _: {**published_saa(), "epoch": 3})
pickle_of("a_number_as_key", "type Tensor under '7'", lambda _: {"SAA_module": {7: torch.ones(2)}})
pickle_of("nested_too_deep", "type dict under 'model.state'", lambda _: {"model": {"state": {"a": torch.ones(2)}}})
pickle_of("stretched_view", "it declares 1e+06 values", lambda _: {"a": torch.ones(1).expand(10**6, 10**6)})
pickle_of("many_views", "more than the file has", lambda _: dict.fromkeys("abcdefgh", torch.ones(1000)))
pickle_of("meta_tensor", "_rebuild_meta_tensor_no_storage'", lambda _: {"a": torch.ones(3, device="meta")})
pickle_of("sparse_tensor", "_rebuild_sparse_tensor'", lambda _: {"a": torch.eye(3).to_sparse()})
