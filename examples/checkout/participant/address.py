"""Where the broker is, as the URL says it."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Address:
    scheme: str
    hosts: list[str]
    user: str | None
    # Not to be printed.
    password: str | None
    path: str
    # Stands before the names of all topics.
    prefix: str

    @classmethod
    def parse(cls, url):
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        return cls(
            scheme=parts.scheme,
            hosts=hosts.split(","),
            user=unquote(user) or None,
            password=unquote(password) or None,
            path=unquote(parts.path.removeprefix("/")),
            prefix=parse_qs(parts.query).get("prefix", [""])[0],
        )

    def __repr__(self):
        return f"{self.scheme}://{','.join(self.hosts)}"
