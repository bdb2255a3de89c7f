"""The outside world: one module or folder for each third-party package."""
