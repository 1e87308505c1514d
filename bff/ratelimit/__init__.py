"""Token buckets and where they live: the arithmetic, the memory store, the Redis store, the limiter."""
