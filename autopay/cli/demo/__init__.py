"""The command `demo`: the main job on the embedded stack, shown in chapters."""
