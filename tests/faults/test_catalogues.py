"""Catalogues and lists of addresses: those that are shipped, bad ones, and addresses that answer with something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from iqaflow.core.errors import InputError, PipelineError
from iqaflow.core.workspace import Workspace
from iqaflow.sources import catalogue, download, transfer
from tests.faults.file_server import Checkout, photographs, zipped

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_list_of_addresses(server, tmp_path):
    images = photographs(6)
    server.files.update({f"p/{name}": data for name, data in images.items()})
    digest = {name: hashlib.sha256(data).hexdigest() for name, data in images.items()}
    rows = ["url,file,sha256,license,origin"]
    rows += [f"{server.url(f'p/{name}')},{name},{digest[name]},CC BY,Ann" for name in list(images)[:4]]
    rows += [
        f"{server.url('p/photo4.png')},sub/four.png,,,",
        f"{server.url('p/photo5.png')},five.png,{'0' * 64},,",
        f"{server.url('p/gone.png')},gone.png,,,",
    ]
    server.files["list.csv"] = "\n".join(rows).encode()
    checkout = Checkout(tmp_path / "work", [{"url": server.url("list.csv"), "kind": "list"}])
    found = checkout.index()
    assert [photo.origin for photo in found.photographs] == [*(f"list/photo{n}.png" for n in range(4)), "list/sub/four.png"]
    assert (found.photographs[0].license, found.photographs[0].credit) == ("CC BY", "Ann")
    assert (found.photographs[4].license, found.photographs[4].credit) == ("CC0", server.url("p/photo4.png"))
    reasons = {entry["file"]: entry["reason"] for entry in found.quarantine}
    assert set(reasons) == {"list/five.png", "list/gone.png"}
    assert "instead of 0000" in reasons["list/five.png"] and "404" in reasons["list/gone.png"]
    (checkout.home / "list" / "manifest.json").unlink()  # brought again: each photograph must be what it was
    (checkout.home / "list").rename(tmp_path / "away")
    server.files["p/photo4.png"] = photographs(1, 90)["photo90.png"]
    again = checkout.index()
    assert len(again.photographs) == 4 and "instead of" in {e["file"]: e["reason"] for e in again.quarantine}["list/sub/four.png"]


def test_unreachable_addresses_stop_the_run_and_the_rest_is_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 2)
    images = photographs(4)
    server.files.update(images)
    urls = [*(server.url(name) for name in images), "http://127.0.0.1:9/dead.png"]
    checkout = Checkout(tmp_path / "work", [{"kind": "list", "name": "few", "urls": urls}])
    with pytest.raises(
        PipelineError, match=r"1 of the 5 addresses of few are out of reach; the others are kept. First: http://127"
    ):
        checkout.index()
    asked = len(server.asked)
    checkout = Checkout(tmp_path / "work", [{"kind": "list", "name": "few", "urls": urls[:3]}])
    assert len(checkout.index().photographs) == 3 and len(server.asked) == asked
    names = [photo.origin for photo in checkout.index().photographs]
    assert all(name.startswith("few/") and name.endswith(".png") for name in names)


@pytest.mark.parametrize(
    "text, words",
    [
        ("url,file\nftp://x/y.png,y.png", "entry 1: url: string should match"),
        ("not an address", "entry 1: url"),
        ("url,file\nhttp://x/1,../1.png", "would leave its folder"),
        ("url,sha256\nhttp://x/1,abc", "sha256"),
        ("url,file\nhttp://x/1,a.png\nhttp://x/2,a.png", "entry 2: a.png is the file name of two addresses"),
    ],
)
def test_bad_lists_are_named(text, words):
    with pytest.raises(InputError, match=words):
        catalogue.addresses(text, "the list")


def test_shipped_catalogues_are_sound():
    assert catalogue.shipped() == ["bsds500", "coco", "kadis700k", "koniq10k"]
    for name in catalogue.shipped():
        found = catalogue.read(name, Workspace(Path("/nowhere")))
        assert found.name == name and found.license and found.homepage.startswith("https://")
        assert all(part.photographs or part.keep for part in found.parts)
        if found.coco_licences:
            part = next(part for part in found.parts if part.folder == found.coco_licences.part)
            assert part.wants(found.coco_licences.file) and not part.is_photograph(found.coco_licences.file)
    part = catalogue.read("bsds500", Workspace(Path("/nowhere"))).parts[0]
    assert part.is_photograph("BSR/BSDS500/data/images/train/100075.jpg")
    assert not part.wants("BSR/BSDS500/data/images/test/100007.jpg")
    assert part.wants("BSR/BSDS500/data/groundTruth/val/101085.mat")


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\nlicense: y", "parts: field required"),
        ("name: x\nlicense: y\nparts: []", "parts"),
        ("name: x\nlicense: y\nparts: [{url: 'file:///etc/passwd'}]", "parts.0.url"),
        ("name: x\nlicense: y\nparts: [{kind: list}]", "give `url`"),
        ("{", "cannot be read"),
        ("- a", "is not right"),
        ("name: x\nlicense: y\nparts: [{url: 'http://a/b.zip'}, {url: 'http://c/b.zip'}]", "parts need different names"),
        ("name: ../x\nlicense: y\nparts: [{url: 'http://a/b.zip'}]", "name"),
        ("name: x\nlicense: y\nparts: [{url: 'http://a/b.zip', sha256: abc}]", "sha256"),
    ],
)
def test_bad_catalogues_are_one_sentence(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        catalogue.read("mine.yaml", Workspace(tmp_path))


def test_unknown_catalogue_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="neither one of bsds500, coco, kadis700k, koniq10k nor a YAML file"):
        catalogue.read("imagenet", Workspace(tmp_path))


def test_downloads_may_lie_on_a_shared_disk(server, tmp_path):
    server.files["file.zip"] = zipped(photographs(3))
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    source = checkout.config.source.model_copy(update={"path": str(tmp_path / "disk")})
    holding = download.bring(source, checkout.workspace)
    assert (tmp_path / "disk" / "ours.lock").is_file() and not checkout.home.exists()
    assert download.path(holding.files[0][0], source, checkout.workspace) == holding.files[0][1]
