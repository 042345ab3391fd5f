"""Who may call the public API and how much of it: API keys and their quotas."""
