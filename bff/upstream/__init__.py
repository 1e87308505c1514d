"""One call to a service, with its layers: deadline, bulkhead, retry, pick, breaker, send."""
