"""Commands that start an agent: `launch`, and `revive` for one whose workflow no longer answers."""
