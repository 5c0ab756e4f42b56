"""What the rules of nft do to a packet that isn't sent, and which rules of others keep instances from the outside."""
