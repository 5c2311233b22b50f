"""Download an upstream once, where there is a network, into a folder for machines without one."""
