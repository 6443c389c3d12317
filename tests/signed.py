"""Files with content credentials, signed with certificates made here. Needs the extra `credentials`."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

c2pa: Any = pytest.importorskip("c2pa", reason="the extra `credentials` is not installed")

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": {"name": "Painter"}}
_SETTINGS = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}


@dataclass(frozen=True)
class Identity:
    """A signer: its certificate and its root's, and its key; all PEM."""

    chain: bytes
    key: bytes
    root: str


def identity(name: str = "Ada Signer", organisation: str = "Test Press") -> Identity:
    """A new signer with a new root of its own, valid since yesterday for a month."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, own_name = _name("Test root", "Test roots"), _name(name, organisation)
    root = _certificate(root_name, root_name, root_key, root_key, is_root=True)
    leaf = _certificate(own_name, root_name, key, root_key, is_root=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(leaf + root, secret, root.decode())


def signed(
    content: bytes,
    signer: Identity,
    *,
    actions: Sequence[Mapping[str, Any]] = (CREATED,),
    mime: str = "image/jpeg",
    parent: bytes = b"",
    remote_url: str = "",
    thumbnail: bytes = b"",
) -> bytes:
    """The content with a manifest: embedded, or with `remote_url` only named."""
    assertions = [{"label": "c2pa.actions", "data": {"actions": list(actions)}}] if actions else []
    manifest: dict[str, Any] = {"claim_generator_info": [{"name": "unmask tests", "version": "7"}]}
    manifest["assertions"] = assertions
    if thumbnail:
        manifest["thumbnail"] = {"format": "image/jpeg", "identifier": "thumbnail.jpg"}
    builder = c2pa.Builder(manifest, c2pa.Context.from_dict(_SETTINGS))
    if thumbnail:
        builder.add_resource("thumbnail.jpg", io.BytesIO(thumbnail))
    if parent:
        builder.add_ingredient({"title": "before", "relationship": "parentOf"}, mime, io.BytesIO(parent))
    if remote_url:
        builder.set_no_embed()
        builder.set_remote_url(remote_url)
    out = io.BytesIO()
    info = c2pa.C2paSignerInfo(b"es256", signer.chain, signer.key, None)
    builder.sign(c2pa.Signer.from_info(info), mime, io.BytesIO(content), out)
    return out.getvalue()


def _name(common: str, organisation: str) -> x509.Name:
    pairs = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in pairs])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> bytes:
    """By the profile of C2PA 2.2, 14.5: an end entity signs documents, a root signs certificates."""
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_root,
        key_cert_sign=is_root,
        crl_sign=is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_root:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)
