"""One reader of headers for each container; each gets a Window and answers with Contents, or None when it is not it."""
