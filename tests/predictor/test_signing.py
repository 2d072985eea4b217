"""A signature covers every byte of a model directory, or does not hold."""

import json
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing

from predictor.repository import ModelRefused, alone, verified
from predictor.triton import Serving
from predictor.versions import nominate, promote, remove, roll_back, serve_as, sign
from tests.predictor.small_models import keys, onnx_of, relisted, write


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A private key; the public one lies beside it."""
    return keys(tmp_path_factory.mktemp("keys"))[0]


@pytest.fixture(scope="module")
def public(key):
    return key.with_suffix(".pub")


@pytest.fixture(scope="module")
def first(tmp_path_factory, key):
    directory = write(tmp_path_factory.mktemp("signed"))
    write(directory.parent, b"two")
    sign(directory, key)
    return directory


@pytest.fixture
def signed(first, tmp_path):
    """A signed model with two versions, of the test's own."""
    return shutil.copytree(first, tmp_path / "small")


def refusal(directory, public):
    with pytest.raises(ModelRefused) as refused:
        verified(directory, public)
    return str(refused.value)


def test_what_was_signed_holds(signed, public):
    model = verified(signed, public)
    assert model.signed
    assert model.models == {1: onnx_of(b"one"), 2: onnx_of(b"two")}
    assert [path.name for path in signed.parent.iterdir()] == ["small"]


def test_a_model_that_is_not_signed(signed, public):
    (signed / "model.sig").unlink()
    assert refusal(signed, public) == "model 'small' has no signature, needs one by the key of 'team.pub'"
    assert not verified(signed).signed


def test_another_key(signed, tmp_path):
    _, other = keys(tmp_path, "other")
    said = refusal(signed, other)
    assert said.startswith("the signature of model 'small' does not hold under the key of 'other.pub': Key mismatch")


@pytest.mark.parametrize("name", ["config.pbtxt", "aliases.json", "1/model.onnx", "2/model.onnx"])
def test_a_file_that_was_altered_and_listed_anew_agrees_with_its_manifest_alone(signed, public, name):
    path = signed / name
    path.write_bytes(onnx_of(b"evil") if name.endswith(".onnx") else path.read_bytes() + b"\n")
    relisted(signed, name)
    assert verified(signed).name == "small"  # checksums cannot tell
    said = refusal(signed, public)
    assert said.endswith(f"does not hold under the key of 'team.pub': it is not of {name}, headrace.json as found")


def test_a_manifest_that_was_altered(signed, public):
    path = signed / "headrace.json"
    path.write_text(path.read_text().replace('"metrics": {}', '"metrics": {"roc_auc": 1.0}'))
    assert verified(signed).of().metrics == {"roc_auc": 1.0}
    assert refusal(signed, public).endswith(": it is not of headrace.json as found")


def test_a_version_of_another_signed_directory(signed, public, key, tmp_path):
    other = write(tmp_path / "other", b"evil")
    sign(other, key)
    shutil.copy(other / "model.sig", signed / "model.sig")
    assert "it is not of " in refusal(signed, public)


@pytest.mark.parametrize("ignored", ["1", "headrace.json", "2/model.onnx"])
def test_a_signature_that_leaves_files_out(signed, public, key, ignored):
    """The library takes the list of what is left out from the signature itself."""
    (signed / "model.sig").unlink()
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=["model.sig", ignored]))
    config.sign(signed, signed / "model.sig")
    said = refusal(signed, public)
    assert said.startswith("the signature of model 'small' does not hold under the key of 'team.pub': it is not of ")
    assert ignored in said


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes"])
def test_a_file_that_signing_leaves_out_by_default(signed, public, name):
    (signed / name).write_text("*")
    assert f"holds {name}, which its headrace.json does not list" in refusal(signed, public)


def test_a_signature_over_other_digests(signed, public, key):
    (signed / "model.sig").unlink()
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    blake = hashing.Config().use_file_serialization(hashing_algorithm="blake3")
    config.set_hashing_config(blake.set_ignored_paths(paths=["model.sig"])).sign(signed, signed / "model.sig")
    assert "it is not of 1/model.onnx, 2/model.onnx" in refusal(signed, public)


def broken(signature, how):
    bundle = json.loads(signature)
    if how == "cut":
        return signature[:100]
    if how == "empty":
        return ""
    if how == "no object":
        return "[]"
    if how == "no material":
        return "{}"
    if how == "no signatures":
        bundle["dsseEnvelope"]["signatures"] = []
    elif how == "another payload":
        bundle["dsseEnvelope"]["payload"] = "e30="
    elif how == "a payload that is none":
        bundle["dsseEnvelope"]["payload"] = "?"
    return json.dumps(bundle)


@pytest.mark.parametrize(
    "how", ["cut", "empty", "no object", "no material", "no signatures", "another payload", "a payload that is none"]
)
def test_a_signature_that_is_none(signed, public, how):
    path = signed / "model.sig"
    path.write_text(broken(path.read_text(), how))
    assert refusal(signed, public).startswith(
        "the signature of model 'small' does not hold under the key of 'team.pub'"
    )


def test_keys_that_are_none(signed, key, tmp_path):
    assert "'team.key' is no public key, needs a PEM file with one" in refusal(signed, key)
    assert "absent.pub' cannot be read: No such file or directory" in refusal(signed, tmp_path / "absent.pub")
    (tmp_path / "cut.pub").write_text("-----BEGIN PUBLIC KEY-----\nabc\n")
    assert "does not hold under the key of 'cut.pub': " in refusal(signed, tmp_path / "cut.pub")


def test_keys_that_cannot_sign(signed, public, tmp_path):
    before = verified(signed, public)
    unfit, _ = keys(tmp_path, "unfit", ec.SECP256K1())
    for given, said in ((public, "team.pub"), (tmp_path / "absent", "absent"), (unfit, "unfit.key")):
        with pytest.raises(ModelRefused, match=f"key '{said}' cannot sign: .*needs a private key of P-256"):
            sign(signed, given)
    assert verified(signed, public) == before


def test_a_key_with_a_password(signed, tmp_path, monkeypatch):
    key, public = keys(tmp_path, "locked", ec.SECP384R1(), "open sesame")
    for password in ("", "wrong"):
        monkeypatch.setenv("HEADRACE_SIGNING_PASSWORD", password)
        with pytest.raises(ModelRefused, match=r"key 'locked.key' cannot sign: ") as refused:
            sign(signed, key)
        assert "wrong" not in str(refused.value)
    monkeypatch.setenv("HEADRACE_SIGNING_PASSWORD", "open sesame")
    sign(signed, key)
    promote(signed, 2, key)
    assert verified(signed, public).production == 2


def test_a_change_takes_the_signature_away_or_makes_it_anew(signed, key, public):
    promote(signed, 2, key)
    assert verified(signed, public).aliases == {"production": 2, "previous": 1}
    promote(signed, 1)
    assert "has no signature" in refusal(signed, public)


CHANGES = {
    "promote": lambda directory, key: promote(directory, 2, key),
    "nominate": lambda directory, key: nominate(directory, 2, key),
    "roll back": roll_back,
    "remove": lambda directory, key: remove(directory, 2, key),
    "config": lambda directory, key: serve_as(directory, Serving(instances=2), key),
    "write": lambda directory, key: write(directory.parent, b"three", key=key),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_altered_without_the_key_is_not_signed_by_a_change_with_it(signed, key, public, change):
    (signed / "2" / "model.onnx").write_bytes(onnx_of(b"evil"))
    relisted(signed, "2/model.onnx")
    before = {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()}
    with pytest.raises(ModelRefused) as refused:
        CHANGES[change](signed, key)
    assert str(refused.value) == (
        "the signature of model 'small' does not hold under the key of 'team.key': it is not of 2/model.onnx, "
        "headrace.json as found; nothing was changed: look at what lies there, then sign afresh what was looked at, "
        "with headrace model sign"
    )
    assert before == {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()}
    sign(signed, key)
    assert verified(signed, public).models[2] == onnx_of(b"evil")


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_lost_its_signature_is_not_signed_by_a_change(signed, key, public, change):
    (signed / "model.sig").unlink()
    with pytest.raises(ModelRefused, match=r"needs one by the key of 'team\.key'; nothing was changed"):
        CHANGES[change](signed, key)
    assert "has no signature" in refusal(signed, public)


def test_a_model_of_another_key_is_signed_afresh_before_it_is_changed(signed, tmp_path):
    other, public = keys(tmp_path, "other")
    with pytest.raises(ModelRefused, match=r"under the key of 'other.key': .*; nothing was changed: look at"):
        promote(signed, 2, other)
    sign(signed, other)
    promote(signed, 2, other)
    assert verified(signed, public).production == 2


def test_a_change_with_a_key_that_cannot_sign(signed, public, tmp_path):
    for given in (public, tmp_path / "absent", keys(tmp_path, "locked", password="open sesame")[0]):
        with pytest.raises(ModelRefused, match=f"key '{given.name}' cannot sign: .*needs a private key of P-256"):
            promote(signed, 2, given)
    assert verified(signed, public).production == 1


def test_a_model_that_is_not_whole_is_not_signed(signed, key):
    (signed / "1" / "notes.txt").write_text("notes")
    with pytest.raises(ModelRefused, match="does not list"):
        sign(signed, key)


def test_a_copy_of_one_version_is_unsigned_and_the_whole_keeps_its_signature(signed, key, public, tmp_path):
    with alone(signed, 2) as copy:
        assert not verified(copy).signed
    single = write(tmp_path / "one")
    sign(single, key)
    with alone(single) as same:
        assert (same, verified(same, public).signed) == (single, True)


def test_without_the_package_a_signature_cannot_be_looked_at(signed, public):
    check = (
        "import sys; sys.modules['model_signing'] = None\n"
        "from predictor.repository import ModelRefused, verified\n"
        "print(verified(sys.argv[1]).name)\n"
        "try: verified(*sys.argv[1:])\nexcept ModelRefused as refused: print(refused)"
    )
    asked = [sys.executable, "-c", check, str(signed), str(public)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    said = "signatures need the package model-signing, which is not installed: pip install 'headrace[signing]'"
    assert done.stdout.splitlines() == ["small", said]
