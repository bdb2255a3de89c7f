"""The two sides of a delivery that is measured: who writes, and what is read from database and disk."""
