"""Thin command lines: parse, call, report."""
