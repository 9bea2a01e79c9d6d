"""Commands about requests: ask for paid data, ask again, approve or deny what is asked of a person."""
