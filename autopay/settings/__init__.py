"""What the environment, `.env`, files of secrets and a running embedded stack say."""

from autopay.settings.environment import PREFIX
from autopay.settings.settings import SECRET, Settings, keyring_of_home

__all__ = ["PREFIX", "SECRET", "Settings", "keyring_of_home"]
