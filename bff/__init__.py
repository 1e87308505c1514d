"""A backend-for-frontend gateway: REST and GraphQL outside, gRPC services inside."""

__version__ = "0.1.0"
