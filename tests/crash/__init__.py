"""A bot that is killed again and again, and the phones that it talks to."""
