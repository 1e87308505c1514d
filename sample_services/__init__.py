"""Four real processes for demos, tests and benchmarks; `python -m sample_services` starts them.

They are the services users, catalog and orders, and an identity provider; they know nothing of the
gateway. Importing this package makes the message classes of `protos/` first, where they are missing
or older than their sources: whoever imports a service needs them.
"""

from sample_services.protoc import ensure_generated

__all__: list[str] = []

ensure_generated()
