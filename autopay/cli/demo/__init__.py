"""The command `demo`: the main job on the embedded stack, told in chapters."""
