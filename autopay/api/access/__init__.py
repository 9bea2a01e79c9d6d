"""Who may read and act: tokens and their scopes, sessions of the page, and what protects the API from other sites."""
