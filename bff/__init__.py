"""A backend-for-frontend gateway: REST and GraphQL outside, gRPC services inside."""
