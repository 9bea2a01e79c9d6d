"""The command `doctor`: what keeps Autopay from working, and what to do about it. It changes nothing."""
