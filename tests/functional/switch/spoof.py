"""Run inside an app: sends frames that aren't the app's to send. `spoof.py IFNAME MAC ADDRESS-OF-ANOTHER`."""

from __future__ import annotations

import socket
import struct
import sys

OTHER = bytes.fromhex("020000000099")
BROADCAST = b"\xff" * 6


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def udp4(source: str, sport: int, dport: int) -> bytes:
    payload = struct.pack("!HHHH", sport, dport, 8 + 18, 0) + bytes(18)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0,
                         socket.inet_aton(source), b"\xff" * 4)  # fmt: skip
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def advertisement(mac: bytes) -> bytes:
    """An RA to all nodes, from the app's own link-local address."""
    source = bytes.fromhex("fe80") + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    target = bytes.fromhex("ff02") + bytes(13) + b"\1"
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    pseudo = source + target + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body


def main(ifname: str, mac_text: str, victim: str) -> None:
    mac = bytes.fromhex(mac_text.replace(":", ""))
    bpdu = bytes.fromhex("424203") + bytes(32)
    frames = [
        BROADCAST + mac + b"\x08\x00" + udp4(victim, 5000, 5001),  # another's address
        BROADCAST + OTHER + b"\x08\x00" + udp4("192.168.3.250", 5000, 5001),  # another MAC address
        BROADCAST + mac + b"\x08\x00" + udp4("192.168.3.251", 67, 68),  # a DHCP server
        bytes.fromhex("333300000001") + mac + b"\x86\xdd" + advertisement(mac),  # a router
        bytes.fromhex("0180c2000000") + mac + struct.pack("!H", len(bpdu)) + bpdu,  # a bridge
    ]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((ifname, 0))
        for frame in frames:
            packet.send(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
