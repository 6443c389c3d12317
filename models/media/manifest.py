"""The child's side of content credentials: a file's C2PA manifest, read by c2pa-python and cut down to what is told.

Source: C2PA Technical Specification 2.2. The library parses what strangers send, so it runs in the confined child only,
and fetches nothing: neither manifests that are kept elsewhere nor whether a certificate was revoked.
"""

import importlib
import json
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

MAX_ACTIONS, MAX_PROBLEMS, MAX_TYPES, MAX_ANCESTORS = 16, 32, 8, 32
TEXT_CHARACTERS = 128
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SIGNATURE_FITS = "claimSignature.validated"
_HASH_FITS = frozenset({"assertion.dataHash.match", "assertion.bmffHash.match", "assertion.boxesHash.match"})
# Ends of the codes that tell of changed or missing parts. Other failures, such as a certificate that has expired or an
# action that lacks a field, leave the file as it was signed.
_BROKEN = (".mismatch", ".missing", ".inaccessible")


def load() -> Any:
    """The library; raises ImportError without the extra `credentials`."""
    return importlib.import_module("c2pa")


def read_manifest(media: BufferedReader, mime: str, trust_anchors: str) -> dict[str, Any]:
    """The fields of `models.types.Credentials`, but for `sentence`.

    Args:
        media: the file.
        mime: what it is, of the types that the library knows.
        trust_anchors: certificates in PEM; the signer's trust is checked if there are any.
    """
    c2pa = load()
    context = c2pa.Context.from_dict(_settings(trust_anchors))
    try:
        with c2pa.Reader(mime, media, context=context) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return {"status": "none"}
    except c2pa.C2paError as error:
        return _unreadable(str(error))
    return _told(store, trust_checked=bool(trust_anchors))


def _settings(trust_anchors: str) -> dict[str, Any]:
    """Names of settings are those of c2pa-rs; wrong ones are ignored by it without a word, so tests hold the effect."""
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": bool(trust_anchors)}
    return {"verify": verify, "trust": {"trust_anchors": trust_anchors}} if trust_anchors else {"verify": verify}


def _unreadable(error: str) -> dict[str, Any]:
    if error.startswith("Remote"):
        return {"status": "not_read", "why": "the manifest is kept elsewhere, and nothing is fetched"}
    return {"status": "not_read", "why": text(f"the manifest cannot be parsed ({error})")}


def _told(store: dict[str, Any], *, trust_checked: bool) -> dict[str, Any]:
    manifests: dict[str, Any] = store.get("manifests", {})
    label = str(store.get("active_manifest"))
    active = manifests.get(label, {})
    results = store.get("validation_results", {})
    own = results.get("activeManifest", {})
    signature = active.get("signature_info") or {}
    actions = _actions(manifests, label)
    types = dict.fromkeys(action["digital_source_type"] for action in actions if action["digital_source_type"])
    return {
        "status": "invalid" if store.get("validation_state") == "Invalid" else "valid",
        "integrity": _integrity(own),
        "signer_trusted": _trust(own) if trust_checked else "not_checked",
        "signer": text(signature.get("common_name")),
        "organisation": text(signature.get("issuer")),
        "signed_at": text(signature.get("time")),
        "generator": _generator(active),
        "actions": actions[:MAX_ACTIONS],
        "source_types": list(types)[:MAX_TYPES],
        "ingredients": len(active.get("ingredients", ())),
        "problems": _problems(results)[:MAX_PROBLEMS],
    }


def _integrity(results: dict[str, Any]) -> str:
    passed, failed = _codes(results, "success"), _codes(results, "failure")
    if any(code.endswith(_BROKEN) for code in failed):
        return "broken"
    return "intact" if _SIGNATURE_FITS in passed and _HASH_FITS & set(passed) else "not_checked"


def _trust(results: dict[str, Any]) -> str:
    return "trusted" if "signingCredential.trusted" in _codes(results, "success") else "untrusted"


def _problems(results: dict[str, Any]) -> list[str]:
    own = _codes(results.get("activeManifest", {}), "failure")
    deltas = [delta.get("validationDeltas", {}) for delta in results.get("ingredientDeltas") or ()]
    of_ingredients = [f"ingredient: {code}" for delta in deltas for code in _codes(delta, "failure")]
    return list(dict.fromkeys(own + of_ingredients))


def _codes(results: dict[str, Any], outcome: str) -> list[str]:
    return [text(found.get("code")) for found in results.get(outcome, ())]


def _generator(manifest: dict[str, Any]) -> str:
    """Claims of version 1 name the program in one text, those of version 2 in parts."""
    parts = [f"{info.get('name', '')} {info.get('version', '')}" for info in manifest.get("claim_generator_info") or ()]
    return text(parts[0] if parts else manifest.get("claim_generator")).strip()


def _actions(manifests: dict[str, Any], active: str) -> list[dict[str, Any]]:
    """What was done to this file, newest version first; of several that read the same, one."""
    found = {
        tuple(action.values()): action
        for number, manifest in enumerate(_versions(manifests, active))
        for assertion in manifest.get("assertions", ())
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in (_action(declared, earlier=number > 0) for declared in assertion["data"].get("actions", ()))
    }
    return list(found.values())


def _versions(manifests: dict[str, Any], active: str) -> Iterator[dict[str, Any]]:
    """The manifest of this file, then of the file that it is a newer version of, and so on."""
    seen: set[str] = set()
    while active in manifests and active not in seen and len(seen) < MAX_ANCESTORS:
        seen.add(active)
        manifest = manifests[active]
        yield manifest
        parents = [i for i in manifest.get("ingredients", ()) if i.get("relationship") == "parentOf"]
        active = parents[0].get("active_manifest", "") if parents else ""


def _action(declared: dict[str, Any], *, earlier: bool) -> dict[str, Any]:
    agent = declared.get("softwareAgent", "")
    return {
        "action": text(declared.get("action")),
        "digital_source_type": text(declared.get("digitalSourceType")).removeprefix(_IPTC),
        "software": text(agent.get("name") if isinstance(agent, dict) else agent),
        "when": text(declared.get("when")),
        "earlier": earlier,
    }


def text(value: object) -> str:
    """A text from the manifest: without what does not print (line breaks, control characters, reversals), and cut."""
    return "".join(letter for letter in str(value or "") if letter.isprintable())[:TEXT_CHARACTERS]
