"""What went wrong with TLS, in a sentence that says whose certificate was not accepted by whom."""

from __future__ import annotations

import ssl

NO_CERTIFICATE = "it showed no certificate"
#: Whether this party expects one other or several.
OTHER_CERTIFICATE = "its certificate is not one that is pinned here (peer.pem, or peers/ where several come)"
#: Alerts by which the other end says that it did not take our certificate.
_OUR_CERTIFICATE = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_", "ACCESS_DENIED", "DECRYPT_ERROR")


def tls_problem(error: Exception) -> str:
    """The problem, for "the other end of the link: ..."."""
    reason = str(getattr(error, "reason", None) or "")
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{OTHER_CERTIFICATE}, or no longer valid: {error.verify_message}"
    if "ALERT" in reason and any(name in reason for name in _OUR_CERTIFICATE):
        return f"it does not accept this party's certificate: another one is pinned there ({reason})"
    if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reason:
        return NO_CERTIFICATE
    if isinstance(error, TimeoutError):
        return "it did not start TLS in time"
    return f"it does not speak TLS as this end does ({reason or getattr(error, 'strerror', None) or error})"
