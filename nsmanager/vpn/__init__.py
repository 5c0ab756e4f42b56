"""The tunnels of a VPN instance: their routes, their charon, and what becomes of them."""
