"""Families of upstreams: one contract a file, and the registry of those that are supported or refused."""
