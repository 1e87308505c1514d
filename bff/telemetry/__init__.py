"""What happened, told outside: access log, metrics, trace context.

Listens to core.events; nothing imports it but the composition root.
"""
