"""BLAKE2b without OpenSSL: ``hashlib`` would be a fifth of what importing the cache takes."""

try:
    from _blake2 import blake2b  # what hashlib.blake2b is
except ImportError:  # an interpreter that keeps it elsewhere
    from hashlib import blake2b

__all__ = ["blake2b"]
