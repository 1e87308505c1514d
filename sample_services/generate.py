"""`python -m sample_services.generate`: makes the message classes anew, fresh or not."""

from sample_services.protoc import generate

__all__: list[str] = []

if __name__ == "__main__":
    generate()
