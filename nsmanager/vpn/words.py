"""What charon's log means for people: why a tunnel isn't up. Pure. The texts are those of strongSwan 5.9."""

from __future__ import annotations

# What a line of the log holds -> what it means; the first that is found counts.
MEANINGS = (
    (
        "received AUTHENTICATION_FAILED",
        "the peer refuses us: it has another secret, doesn't trust our certificate, or doesn't know our local_id",
    ),
    ("MAC mismatched", "the peer has another secret"),
    ("no shared key found", "there is no secret for this peer: see the status of the instance's secrets"),
    ("no private key found", "there is no key for our certificate"),
    ("no trusted", "the peer's certificate is not signed by our ca_file, or doesn't name its remote_id"),
    ("constraint check failed", "the peer is not who it must be: see remote_id"),
    ("selected peer config", "the peer is not who it must be: see remote_id"),
    (  # strongSwan says the same where no connection of its own is for us, as in its first moments
        "received NO_PROPOSAL_CHOSEN",
        "the peer accepts none of our algorithms, or knows no connection with us: see proposals and esp_proposals",
    ),
    ("received INVALID_KE_PAYLOAD", ""),  # it names another group, and it goes on
    ("no matching", "we have no algorithm in common with the peer: see proposals"),
    ("no acceptable", "we have no algorithm in common with the peer: see proposals and esp_proposals"),
    ("received TS_UNACCEPTABLE", "the peer has no such networks for us: see local_subnets and remote_subnets"),
    ("received TS_UNACCEPT", "the peer has no such networks for us: see local_subnets and remote_subnets"),
    ("giving up after", "the peer doesn't answer"),
    ("peer not responding", "the peer doesn't answer"),
    ("received DELETE for IKE_SA", "the peer ended the tunnel"),
    ("installing policy failed", "the networks of the tunnel can't be taken by this host's ESP"),
    ("unable to install", "ESP can't be set up: see the instance's log"),
    ("unable to resolve", "there is no way to the peer"),
    ("error writing to socket", "there is no way to the peer"),
)


def meaning(line: str) -> str:
    """Return what a line of the log tells people; empty: nothing of interest."""
    return next((words for text, words in MEANINGS if text in line), "")
