"""What the environment, `.env`, files of secrets and a running embedded stack say."""

from autopay.settings.settings import PREFIX, SECRET, Settings, keyring_of_home

__all__ = ["PREFIX", "SECRET", "Settings", "keyring_of_home"]
