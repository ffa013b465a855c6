"""The application: limits, keys, quotas, errors as problem documents, and the server that runs it."""
