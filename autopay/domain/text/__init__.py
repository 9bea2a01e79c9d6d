"""How people write command lines, durations, URLs and TOML files: each is read and written in one place. Pure."""
