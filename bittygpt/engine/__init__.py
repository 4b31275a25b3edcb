"""Fast paths: the same numbers as `core`'s, each only for exactly the formula that it was proved against."""
