"""Response cache, singleflight and idempotency entries. Not built yet: its keys are refused at load."""
