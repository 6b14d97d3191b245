"""Provenance in the files: a C2PA manifest, embedded and as a sidecar, signed by a key of this installation.

The key and its certificates are made once and kept in a folder that only its owner reads. Nobody else vouches for them:
a reader finds the manifest intact ("Valid") and its signer unknown. A company that has a certificate of its own puts it
there instead: ``chain.pem`` (its certificate first) and ``key.pem`` (ES256, PKCS 8).
"""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arauto.core.errors import EngineError
from arauto.core.kit import Asset

if TYPE_CHECKING:
    import c2pa

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SIGNED = ("image/png", "image/jpeg", "image/webp", "audio/wav", "audio/mpeg", "video/mp4")
_YEARS = 10


class Signer:
    """Signs files with the key in ``folder``, which is made there when it is missing.

    Raises:
        EngineError: when the package `c2pa-python` is not installed, or the key cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import c2pa
        except ModuleNotFoundError:
            raise EngineError(
                "signing needs the package c2pa-python", field="export", mend="pip install 'arauto[kit]'"
            ) from None
        chain, key = folder / "chain.pem", folder / "key.pem"
        if not (chain.is_file() and key.is_file()):
            _make_key(chain, key)
        self._c2pa = c2pa
        self._info = c2pa.C2paSignerInfo(b"es256", chain.read_bytes(), key.read_bytes(), None)

    def sign(self, body: bytes, asset: Asset) -> tuple[bytes, bytes]:
        """``body`` with its manifest inside, and the manifest alone, for a sidecar file."""
        manifest = manifest_of(asset)
        target = io.BytesIO()
        try:
            with self._c2pa.Signer.from_info(self._info) as signer, self._builder(manifest) as builder:
                sidecar = builder.sign(signer, asset.media_type, io.BytesIO(body), target)
        except self._c2pa.C2paError as failure:
            raise EngineError(
                f"{asset.id} cannot be signed: {failure}", field="export", mend="look at the key"
            ) from None
        return target.getvalue(), bytes(sidecar)

    def _builder(self, manifest: dict[str, Any]) -> c2pa.Builder:
        plain = self._c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        return self._c2pa.Builder(json.dumps(manifest), context=plain)


def manifest_of(asset: Asset) -> dict[str, Any]:
    """What the manifest of an asset says: created by which engine, of which IPTC source type, asked what."""
    made = asset.made
    agent = {"name": "Arauto", "version": _version()}
    engine = " ".join(part for part in (made.engine, made.version, made.model) if part)
    created = {
        "action": "c2pa.created",
        "softwareAgent": {"name": engine},
        "digitalSourceType": f"{IPTC}{made.source_type}",
        "parameters": {"seed": str(made.seed), "prompt_sha256": made.prompt_sha256, "unsigned_sha256": asset.sha256},
    }
    return {
        "claim_generator_info": [agent],
        "title": asset.path.rsplit("/", 1)[-1],
        "format": asset.media_type,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {
                "label": "cawg.training-mining",
                "data": {"entries": {"cawg.ai_generative_training": {"use": "notAllowed"}}},
            },
        ],
    }


def read_manifest(body: bytes, media_type: str) -> dict[str, Any]:
    """The manifest store of a signed file, as data.

    Raises:
        EngineError: when there is none, or it cannot be read.
    """
    import c2pa

    try:
        with c2pa.Reader(media_type, io.BytesIO(body)) as reader:
            store: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as failure:
        raise EngineError(f"no manifest can be read: {failure}", field="c2pa", mend="export the kit anew") from None
    return store


def _version() -> str:
    import arauto

    return arauto.__version__


def _make_key(chain: Path, key: Path) -> None:
    """A root and a certificate for signing content under it, as the C2PA specification (section 14.5) asks for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC) - timedelta(minutes=5)
    root_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(name: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Arauto"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )

    def certificate(name: str, public: ec.EllipticCurvePublicKey, *, root: bool) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=not root, key_cert_sign=root, crl_sign=root, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("Local root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )
        if not root:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(root_key, hashes.SHA256())

    own = certificate("Local content signer", own_key.public_key(), root=False)
    root = certificate("Local root", root_key.public_key(), root=True)
    pem = serialization.Encoding.PEM
    chain.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secret)
    chain.write_bytes(own.public_bytes(pem) + root.public_bytes(pem))
