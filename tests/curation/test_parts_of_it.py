"""Hostile inputs, grouping, choosing and duplicates by themselves: no network, no Ray."""

import io
import json
import os
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from dynamicid.curation.choosing import SCHEMA as CHOSEN
from dynamicid.curation.choosing import Photos, choose, pose_cell
from dynamicid.curation.cluster import processes
from dynamicid.curation.curation import exclusive_lock, prepare_folder
from dynamicid.curation.decoding import DUPLICATES_SCHEMA as DUPLICATES
from dynamicid.curation.decoding import SCHEMA as DECODED
from dynamicid.curation.decoding import decode_part, find_duplicates
from dynamicid.curation.listing import photo_id, read_passed_over, write_listing
from dynamicid.curation.measuring import SCHEMA as MEASURED
from dynamicid.curation.parts import part_numbers, part_path
from dynamicid.curation.people import folder_name, group, read_embeddings
from dynamicid.curation.settings import Settings, check
from dynamicid.curation.stages import fingerprint
from dynamicid.errors import DynamicIDError
from dynamicid.files.pictures import OPTIONAL_FORMATS
from dynamicid.files.tables import read_rows, write_rows, write_table


def settings(tmp_path: Path, *inputs: Path, **changes) -> Settings:
    return Settings(**{"out": tmp_path / "out", "inputs": inputs, "face_pack": tmp_path, **changes})


def noise(size=(40, 30), seed=0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size; its data is a bomb of zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    bomb = zlib.compress(bytes(10_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")


def hostile(folder: Path) -> dict[str, str]:
    """Writes bad photos; name -> the reason they are listed with, "" for those that are odd but fine."""
    folder.mkdir()
    (folder / "text.png").write_bytes(b"no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "huge.png").write_bytes(png_header(30_000, 30_000))
    text = io.BytesIO()
    noise().save(text, "PNG")
    whole = text.getvalue()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    bomb = b"zTXt" + b"k\0\0" + zlib.compress(bytes(200_000_000))
    chunk = (len(bomb) - 4).to_bytes(4, "big") + bomb + zlib.crc32(bomb).to_bytes(4, "big")
    (folder / "zip.png").write_bytes(whole[:33] + chunk + whole[33:])
    noise().save(folder / "moves.gif", save_all=True, append_images=[noise(seed=1)])
    noise(seed=2).convert("CMYK").save(folder / "cmyk.jpg")
    noise(seed=3).save(folder / "exif.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    noise(seed=4).convert("L").save(folder / "grey.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "run.sh").write_text("touch executed")
    return {
        "text.png": "unreadable picture", "empty.jpg": "empty file", "huge.png": "too many pixels",
        "half.png": "unreadable picture", "zip.png": "unreadable picture", "moves.gif": "animated",
        "dangling.png": "missing file", "cmyk.jpg": "", "exif.jpg": "", "grey.png": "",
    }  # fmt: skip


def decoded(one: Settings) -> dict[str, str]:
    write_listing(one)
    reasons = {}
    for number in part_numbers(one.work, "listing"):
        sources = {row["photo_id"]: row["source"] for row in read_rows(part_path(one.work, "listing", number))}
        reasons |= {sources[row["photo_id"]]: row["reason"] for row in decode_part(one, number)}
    return reasons


def test_hostile_files_are_listed_with_their_reason(tmp_path: Path):
    expected = hostile(tmp_path / "photos")
    found = decoded(settings(tmp_path, tmp_path / "photos", part_size=3))
    assert found == {f"photos/{name}": reason for name, reason in expected.items()}


def test_tables_and_shards_carry_labels_and_consent(tmp_path: Path):
    noise().save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,person,consent\na.png,Ann,yes\ngone.png,Bob,yes\n")
    buffer = io.BytesIO()
    noise(seed=1).save(buffer, "PNG")
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        members = {
            "x/2.cls": b"7",
            "x/1.png": buffer.getvalue(),
            "x/1.json": json.dumps({"person": "Cy", "license": "CC0"}).encode(),
        }
        for name, content in {**members, "../evil.png": buffer.getvalue()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "broken.tar").write_bytes(b"no shard" * 100)
    inputs = [tmp_path / name for name in ("list.csv", "some.tar", "broken.tar")]
    one = settings(tmp_path, *inputs, labels="given", consent="asked")
    found = decoded(one)
    rows = {row["source"]: row for row in read_rows(part_path(one.work, "listing"))}
    assert [rows["list.csv/a.png"][name] for name in ("label", "consent")] == ["Ann", "yes"]
    assert [rows["some.tar#x/1.png"][name] for name in ("label", "consent", "licence")] == ["Cy", "asked", "CC0"]
    assert found["list.csv/a.png"] == found["some.tar#x/1.png"] == ""
    assert found["list.csv/gone.png"] == "missing file"
    assert found["some.tar#../evil.png"] == "no label"
    assert found["broken.tar#(rest)"].startswith("unreadable shard")
    assert not (tmp_path.parent / "evil.png").exists()
    assert read_passed_over(one.work) == [("some.tar#x/2.cls", "not read: .cls")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_from_excel_is_read(tmp_path: Path, end: str):
    noise().save(tmp_path / "a.png")
    (tmp_path / "more").mkdir()
    noise(seed=1).save(tmp_path / "more" / "b.PNG")
    lines = ("Path;Person;Licence", "a.png;Ann;CC0", "more\\b.PNG;Bob;", ";Cy;", ";;")
    (tmp_path / "List.CSV").write_bytes(end.join(lines).encode("utf-8-sig"))
    one = settings(tmp_path, tmp_path / "List.CSV", labels="given")
    assert decoded(one) == {"List.CSV/a.png": "", "List.CSV/more\\b.PNG": ""}
    rows = read_rows(part_path(one.work, "listing"))
    assert [(row["label"], row["licence"]) for row in rows] == [("Ann", "CC0"), ("Bob", "")]
    assert read_passed_over(one.work) == [("List.CSV/row 3", "no path in this row")]


def test_tables_that_cannot_be_read_say_why(tmp_path: Path):
    table = tmp_path / "list.tsv"
    for content, text in (
        ("path\tperson\na.png\tAnn\n".encode("utf-16"), "UTF-16 instead of UTF-8"),
        ("path\tperson\na.png\tJürgen\n".encode("cp1252"), "another encoding than UTF-8"),
        (b"File;Person\na.png;Ann\n", "columns are 'file', 'person', separated by ';'"),
        (b"", "columns are missing"),
    ):
        table.write_bytes(content)
        with pytest.raises(DynamicIDError, match=text):
            write_listing(settings(tmp_path, table))
    write_table(tmp_path / "list.parquet", pa.table({"Path": ["a.png"], "PERSON": ["Ann"]}))
    one = settings(tmp_path, tmp_path / "list.parquet", labels="given")
    assert decoded(one) == {"list.parquet/a.png": "missing file"}
    assert read_rows(part_path(one.work, "listing"))[0]["label"] == "Ann"


def test_linked_people_are_read_and_the_rest_is_listed(tmp_path: Path):
    (tmp_path / "set" / "anna").mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    noise(seed=1).save(tmp_path / "disk" / "1.JPG")
    noise(seed=2).save(tmp_path / "set" / "anna" / "2.png")
    (tmp_path / "set" / "ben").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "IMG_3.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (tmp_path / "disk" / "clip.mov").touch()
    (tmp_path / "disk" / os.fsdecode(b"m\xfcller.png")).write_bytes(b"")
    one = settings(tmp_path, tmp_path / "set", labels="folders")
    reasons = decoded(one)
    assert reasons.pop("set/ben/IMG_3.HEIC") in ("unreadable picture", OPTIONAL_FORMATS["HEIF"])
    assert reasons == {"set/anna/2.png": "", "set/ben/1.JPG": "", "set/ben/m\\udcfcller.png": "name is not UTF-8"}
    assert {row["label"] for row in read_rows(part_path(one.work, "listing"))} == {"anna", "ben"}
    assert sorted(read_passed_over(one.work)) == [
        ("set/ben/clip.mov", "not read: .mov"),
        ("set/ben/loop", "link to a folder around it"),
    ]


def test_heic_is_tried_again_once_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "photos").mkdir()
    noise().save(tmp_path / "photos" / "a.png")
    plain, heic = settings(tmp_path, tmp_path / "photos"), settings(tmp_path, tmp_path / "photos", part_size=1)
    write_listing(plain)
    (tmp_path / "photos" / "b.heic").touch()
    write_listing(heic)
    before = [fingerprint(heic, "decoded", number) for number in (0, 1)]
    monkeypatch.setattr("dynamicid.curation.stages.readable_formats", lambda: ("HEIF", "another"))
    assert [fingerprint(heic, "decoded", number) == before[number] for number in (0, 1)] == [True, False]


def test_the_list_only_grows_and_ids_stay(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for name in ("b", "d", "e"):
        noise().save(tmp_path / "photos" / f"{name}.png")
    one = settings(tmp_path, tmp_path / "photos", part_size=2)
    assert write_listing(one) == 3
    before = part_path(one.work, "listing", 0).read_bytes()
    noise().save(tmp_path / "photos" / "a.png")
    assert write_listing(one) == 4
    assert part_path(one.work, "listing", 0).read_bytes() == before
    assert read_rows(part_path(one.work, "listing", 2))[0]["photo_id"] == photo_id("photos/a.png")


def test_nothing_to_do_is_said_in_words(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").touch()
    with pytest.raises(DynamicIDError, match=r"no photo in it.*1 x not read: \.mp4"):
        write_listing(settings(tmp_path, tmp_path / "empty"))
    with pytest.raises(DynamicIDError, match="no folder, shard"):
        write_listing(settings(tmp_path, tmp_path / "missing"))
    with pytest.raises(DynamicIDError, match="same name"):
        check(settings(tmp_path, tmp_path / "a" / "x", tmp_path / "b" / "x"))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_people_come_apart_and_large_groups_come_together():
    random = np.random.default_rng(0)
    centres = unit(random.normal(size=(60, 128)))
    truth = np.concatenate([np.repeat(np.arange(59), 6), np.full(150, 59)])
    vectors = unit(centres[truth] + 0.09 * random.normal(size=(len(truth), 128)))
    found = group(vectors, 0.3)
    assert adjusted_rand_score(truth, found) >= 0.98
    assert len(np.unique(found[truth == 59])) == 1
    assert (found == group(vectors, 0.3)).all()
    assert group(vectors[:0], 0.3).shape == (0,)
    assert group(vectors[:1], 0.3).tolist() == [0]


def skewed_photos(seed: int, count: int = 120) -> tuple[Photos, list]:
    """Mostly neutral faces from the front; the true cell of each."""
    random = np.random.default_rng(seed)
    faces = np.vstack([np.zeros(5), 0.8 * np.array([[0.3, 1, 0, 0, -0.2], [1, 0, 1, 0, 0.7], [0, -0.8, 0, 0.9, -0.4]])])
    turns = np.array([(p, y) for p in (0, 22, -22) for y in (0, 28, -28)])
    which = random.choice(4, count, p=(0.7, 0.1, 0.1, 0.1))
    turned = random.choice(9, count, p=(0.6, *[0.05] * 8))
    expression = faces[which] + 0.1 * random.normal(size=(count, 5))
    pose = np.concatenate(
        [turns[turned] + random.uniform(-6, 6, (count, 2)), random.uniform(-9, 9, (count, 1))], axis=1
    )
    light = random.normal(size=(2, count)) * 0.05
    photos = Photos(expression, np.median(expression, axis=0), pose, light[0], light[1], random.uniform(30, 90, count))
    return photos, list(zip(which, turned, strict=True))


def test_the_choice_covers_half_as_much_again_as_chance():
    for seed in range(5):
        photos, cells = skewed_photos(seed)
        chosen = choose(photos, 35)
        assert len(set(chosen)) == 35
        random = np.random.default_rng(seed)
        by_chance = [len({cells[i] for i in random.choice(120, 35, replace=False)}) for _ in range(100)]
        assert len({cells[i] for i in chosen}) >= 1.5 * np.mean(by_chance)
        assert choose(photos, 10) == chosen[:10]


def test_pose_cells_have_the_prompts_thresholds():
    assert pose_cell(np.array([10.0, 9.9, 0])) == (0, 0)
    assert pose_cell(np.array([10.1, 10.0, 0])) == (1, 1)
    assert pose_cell(np.array([-10.1, -10.0, 0])) == (-1, -1)


def test_of_the_same_picture_the_largest_stays(tmp_path: Path):
    one = settings(tmp_path, duplicate_bits=2)
    rows = [("a", 10, 0b0), ("b", 20, 0b11), ("c", 5, 0b1111), ("d", 5, 0b111111), ("e", 30, (1 << 200) - 1)]
    write_rows(
        part_path(one.work, "decoded"),
        [{"photo_id": i, "reason": "", "width": w, "height": 1, "sha256": "", "phash": h.to_bytes(32, "big")}
         for i, w, h in rows],
        DECODED,
    )  # fmt: skip
    found = {row["photo_id"]: row["duplicate_of"] for row in find_duplicates(one)}
    assert found == {"a": "b", "c": "b"}
    # Unless its face is bad.
    write_rows(part_path(one.work, "measured"), [measured("b", "blurred"), *map(measured, "acde")], MEASURED)
    found = {row["photo_id"]: row["duplicate_of"] for row in find_duplicates(one)}
    assert found == {"b": "a", "d": "c"}


@pytest.mark.parametrize("bits", [0, 3, 10, 15, 16, 60])
def test_duplicates_are_those_of_comparing_all_with_all(bits: int, tmp_path: Path):
    one, random = settings(tmp_path, duplicate_bits=bits), np.random.default_rng(bits)
    pictures = random.integers(0, 2, (300, 256))
    copies = pictures[random.integers(0, 300, 300)]
    for copy in copies:
        copy[random.choice(256, random.integers(0, 2 * bits + 2), replace=False)] ^= 1
    hashes = random.permutation(np.concatenate([pictures, copies]))
    kept: list[int] = []
    expected = {}
    for i, phash in enumerate(hashes):
        near = [k for k in kept if (hashes[k] != phash).sum() <= bits]
        if near:
            expected[f"{i:03d}"] = f"{near[0]:03d}"
        else:
            kept.append(i)
    row = {"reason": "", "width": 1, "height": 1, "sha256": ""}
    packed = [{**row, "photo_id": f"{i:03d}", "phash": np.packbits(phash).tobytes()} for i, phash in enumerate(hashes)]
    write_rows(part_path(one.work, "decoded"), packed, DECODED)
    assert {row["photo_id"]: row["duplicate_of"] for row in find_duplicates(one)} == expected
    assert 30 < len(expected) < 300


def measured(photo_id: str, reason: str = "", number: int = 0) -> dict[str, Any]:
    """A row of ``measuring.SCHEMA``; the embedding is a row of the identity matrix."""
    return {"photo_id": photo_id, "reason": reason, "embedding": None if reason else np.eye(512)[number].tolist()}


def test_embeddings_come_sorted_without_rejected_photos_and_duplicates(tmp_path: Path):
    one = settings(tmp_path)
    parts = [
        [measured("d", number=3), measured("a", "blurred")],
        [],
        [measured("c", number=2), measured("b", number=1)],
    ]
    for number, rows in enumerate(parts):
        write_rows(part_path(one.work, "measured", number), rows, MEASURED)
    write_rows(part_path(one.work, "duplicates"), [{"photo_id": "c", "duplicate_of": "b"}], DUPLICATES)
    ids, vectors = read_embeddings(one)
    assert ids == ["b", "d"]
    assert vectors.argmax(axis=1).tolist() == [1, 3]
    assert vectors.dtype == np.float32


def test_labels_cannot_leave_the_folder():
    assert folder_name("Ann_1") == "Ann_1"
    for label in ("../x", "cache", "CON", "nul.x", "a.", "a/b", ".hidden", "x" * 99, ""):
        assert folder_name(label).startswith("person-")
    assert folder_name("a b") != folder_name("a  b")


def test_a_folder_in_use_is_left_alone(tmp_path: Path):
    one = settings(tmp_path)
    with (
        exclusive_lock(one.work),
        pytest.raises(DynamicIDError, match="Another run is at work"),
        exclusive_lock(one.work),
    ):
        pass
    with exclusive_lock(one.work):
        assert one.work.is_dir()


def test_other_labels_than_a_folder_was_begun_with_are_refused(tmp_path: Path):
    one = settings(tmp_path)
    prepare_folder(one)
    prepare_folder(one)
    with pytest.raises(DynamicIDError, match="begun with 'none'"):
        prepare_folder(replace(one, labels="folders"))


def test_ray_that_does_not_start_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(DynamicIDError, match=r"timed out.*start again"), processes(1, None):
        pytest.fail("It did not start.")
    assert not any(tmp_path.iterdir())


def test_fingerprints_of_earlier_versions_are_still_valid(tmp_path: Path):
    """The constants were computed by an earlier version, whose work folders must continue without recomputation."""
    one = settings(tmp_path, Path("/in"), face_pack=Path("/pack"))
    row = {"reason": "", "width": 2, "height": 2, "sha256": "", "phash": bytes(32)}
    write_rows(part_path(one.work, "decoded"), [{"photo_id": name, **row} for name in "ac"], DECODED)
    chosen = {"photo_id": "a", "person": "x", "word": "happy", "light": "usual, even"}
    write_rows(part_path(one.work, "chosen"), [{**chosen, "rank": 0, "listed_in": 0, "part": 0}], CHOSEN)
    assert fingerprint(one, "measured", 0) == "e992139dba542d572e246c1b0633419da1621fbd54b8bb856612d73cfe1b4054"
    assert fingerprint(one, "portraits", 0) == "9ce470984cc10ceaf0d770de200a636a51b6df8e5e9db353a71d0f5bbdc5a261"
    assert sorted(one.as_json()) == [
        "confidence", "consent", "duplicate_bits", "face_pack", "fewest", "inputs", "labels", "licence", "most_pixels",
        "occlusion", "out", "part_size", "people_part_size", "photos", "require_consent", "several_faces", "sharpness",
        "size", "smallest_face", "threshold",
    ]  # fmt: skip
