"""Who may call the API, and who ordered what."""
