"""A WhatsApp server of our own on loopback, for real clients.

What a test needs is in five modules, imported one by one so that a client under test loads nothing of the server:
``server`` (WhatsAppServer), ``customer`` (Customer), ``seeding`` (seed_device), ``camera`` (read_qr) and ``trust``
(install, write_hook).
"""
