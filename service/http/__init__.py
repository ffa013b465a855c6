"""HTTP rules that all routes share: limits, keys, quotas, content negotiation and problem documents."""
