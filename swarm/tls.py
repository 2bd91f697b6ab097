"""Finding the coordinator that an invite names, and nothing else.

The certificate is fetched first and held against the invite's fingerprint. gRPC then trusts exactly this
certificate, so a wrong address and a machine in between are found out before anything secret is sent.
"""

from __future__ import annotations

import errno
import socket
import ssl

from swarm.errors import InviteError, SwarmError, UnreachableError
from swarm.identity import fingerprint
from swarm.invite import Invite

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


def certificate(invite: Invite, timeout: float) -> str:
    """The PEM certificate of the coordinator that `invite` names; at most `timeout` seconds per address.

    Raises UnreachableError that says why nobody answers; InviteError when somebody else does.
    """
    try:
        der = _fetch(invite, timeout)
    except OSError as error:
        raise _unreachable(error, invite, timeout) from error
    if fingerprint(der) != invite.fingerprint:
        raise InviteError(
            f"The invite names another coordinator than the one that answers at {invite.address}.",
            "Ask for a new invite: the run has moved or was set up anew. If not, do not trust this network.",
        )
    return ssl.DER_cert_to_PEM_cert(der)


def _fetch(invite: Invite, timeout: float) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the caller compares the fingerprint, which says more
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((invite.host, invite.port), timeout) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def _unreachable(error: OSError, invite: Invite, timeout: float) -> SwarmError:
    where = invite.address
    if isinstance(error, socket.gaierror):
        return UnreachableError(
            f"The name {invite.host} is not known on this network.",
            "Check the invite's address and this machine's internet connection.",
        )
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(
            f"The machine at {where} answers, but no coordinator listens there.",
            "The run is stopped, or its port changed: ask the maintainer whether `swarm launch` is running.",
        )
    if isinstance(error, TimeoutError):
        return UnreachableError(
            f"Nothing answers at {where} within {timeout:g} s.",
            "Check the address; the maintainer's router must forward the port, its firewall let it in. "
            "On the same Wi-Fi, the router may keep devices apart.",
        )
    if error.errno in _NO_ROUTE:
        return UnreachableError(
            f"This machine has no route to {where}.",
            "Check the network; a private address (192.168…, 10…) works only in the maintainer's network.",
        )
    return UnreachableError(
        f"What listens at {where} is no coordinator ({error.strerror or error}).",
        "Check the invite's address and port.",
    )
