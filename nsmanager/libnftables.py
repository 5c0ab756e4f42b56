"""nft inside the process by libnftables(3): 0.1 to 2 ms a command, where a child process costs 5."""

from __future__ import annotations

import ctypes
from functools import cache

LIBRARY = "libnftables.so.1"
NFT_CTX_DEFAULT = 0
STATELESS = 1 << 1  # no counters' values: a listing is the same while the rules are
NUMERIC = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8)  # protocols, priorities, symbols, times: free of /etc's names


class NftError(Exception):
    """nft refused a command; the text is nft's own."""


@cache
def library() -> ctypes.CDLL:
    """Return the loaded library. It opens nothing, so it may be loaded before a fork."""
    lib = ctypes.CDLL(LIBRARY)
    lib.nft_ctx_new.restype = ctypes.c_void_p
    lib.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
        getattr(lib, name).restype = ctypes.c_char_p
    lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return lib


class Nft:
    """A context of the library; its socket lies in the network namespace of the thread that made it."""

    def __init__(self) -> None:
        self.lib = library()
        self.context = self.lib.nft_ctx_new(NFT_CTX_DEFAULT)
        if not self.context:
            raise NftError("libnftables gives no context; is nf_tables in the kernel?")
        self.lib.nft_ctx_buffer_output(self.context)
        self.lib.nft_ctx_buffer_error(self.context)
        self.lib.nft_ctx_output_set_flags(self.context, STATELESS | NUMERIC)

    def close(self) -> None:
        """Give the context and its socket back."""
        self.lib.nft_ctx_free(self.context)

    def run(self, commands: str) -> str:
        """Run commands as one transaction and return what they print. Raises NftError: then nothing was done."""
        failed = self.lib.nft_run_cmd_from_buffer(self.context, commands.encode())
        output = self.lib.nft_ctx_get_output_buffer(self.context)
        words = self.lib.nft_ctx_get_error_buffer(self.context)
        if failed:
            raise NftError(words.decode(errors="replace").strip() or "nft failed without a word")
        return str(output.decode(errors="replace"))
