"""The federation of real parties, as a user of the library sees it."""

from comity.core.errors import MissingDependency

MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a deployment")
