"""How our objects in the kernel are told from other people's."""

RTPROT_NSVISOR = 196  # protocol of our routes, rules, addresses and neighbours; unused in rt_protos
LINK_GROUP = 196  # group of all links of ours; nft matches it as `iifgroup 196`
NFT_TABLE = "nsvisor"  # our nft table's name is its mark
DROP_GROUP = 1  # of nfnetlink_log: packets that a rule dropped, with `app/rule` as their prefix
DROP_BYTES = 128  # of each that are copied: the headers of IPv6 with some extensions, and ports
DNS_GROUP = 2  # of nfnetlink_log: packets to and from port 53 of the instance
HOST_SETS = ("h4_", "h6_")  # begin the names of the sets of that table that answers of DNS fill
