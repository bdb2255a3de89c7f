"""The tests; a package, because a dependency of a dependency installs another one of that name."""
