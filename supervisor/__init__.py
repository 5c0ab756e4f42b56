"""The parent of all: what nsvisord does with the host, and with the lives of the managers."""

__version__ = "0.1.0"
