"""What a paid request costs here, beside what it costs elsewhere: `make bench`."""
