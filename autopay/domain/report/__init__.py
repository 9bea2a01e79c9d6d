"""Values that reports are made of, and how a reader says which rows it wants."""
