"""Parsers of untrusted uploads; they run in the parser processes."""
