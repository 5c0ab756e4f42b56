"""One file per kind of kernel object."""
