"""The group `policy`: what agents may pay."""
