"""Where things stand in a .proto file, and what its comments say of them.

From the source info of the descriptor; a text inside an option is looked for in the file itself,
since source info ends at the option. Without either, a place is the file alone.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, SourceCodeInfo

from bff.core.problems import Where

__all__ = ["Positions"]

# MethodDescriptorProto.options and, inside it, google.api.http.
_METHOD_OPTIONS: Final = 4
_HTTP_OPTION: Final = 72295728

_Path = tuple[int, ...]


class Positions:
    """The places of one file. A path is that of descriptor.proto's SourceCodeInfo.Location."""

    def __init__(
        self, file: str, locations: Mapping[_Path, SourceCodeInfo.Location], lines: list[str]
    ) -> None:
        self._file = file
        self._locations = locations
        self._lines = lines

    @staticmethod
    def read(
        proto: FileDescriptorProto, *, texts: Mapping[str, str], places: Mapping[str, str]
    ) -> "Positions":
        """The places of `proto`; `texts` and `places` hold files' texts and paths by proto name."""
        locations: dict[_Path, SourceCodeInfo.Location] = {}
        for location in proto.source_code_info.location:
            # An option may be given in parts; its place is that of the first.
            locations.setdefault(tuple(location.path), location)
        lines = texts.get(proto.name, "").split("\n")
        return Positions(places.get(proto.name, proto.name), locations, lines)

    def where(self, path: _Path) -> Where:
        """Line and column of what stands at `path`; the file alone if they are not known."""
        location = self._locations.get(path)
        if location is None:
            return Where(self._file)
        return Where(self._file, location.span[0] + 1, location.span[1] + 1)

    def option(self, method: _Path) -> Where:
        """The google.api.http option of the method at `path`, or the method."""
        for path, location in self._locations.items():
            if path[: len(method) + 2] == (*method, _METHOD_OPTIONS, _HTTP_OPTION):
                return Where(self._file, location.span[0] + 1, location.span[1] + 1)
        return self.where(method)

    def option_text(self, method: _Path, text: str) -> Where | None:
        """Where the string `text` begins in the method's google.api.http option; None if unknown."""
        location = self._locations.get(method)
        if location is None or not text:
            return None
        # A span of three numbers ends on its own line.
        last = location.span[2] if len(location.span) == 4 else location.span[0]
        for number in range(location.span[0], min(last + 1, len(self._lines))):
            line = self._lines[number]
            for quote in ('"', "'"):
                at = line.find(f"{quote}{text}{quote}")
                if at >= 0:
                    # Behind the quote.
                    return Where(self._file, number + 1, at + 2)
        return None

    def comment(self, path: _Path) -> str:
        """The comment above, else behind, what stands at `path`; lines stripped, empty if none."""
        location = self._locations.get(path)
        if location is None:
            return ""
        text = location.leading_comments or location.trailing_comments
        return "\n".join(line.strip() for line in text.strip().split("\n"))
