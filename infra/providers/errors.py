"""What can go wrong with a provider, as instructions to the caller.

    ProviderError
    ├── Unavailable    nothing was streamed; try again later or elsewhere
    │   └── RateLimited    the same, and not before `retry_after_s`
    ├── Rejected       nothing was streamed; trying the same again is pointless
    └── Interrupted    part of the answer was streamed; restart the attempt

Messages hold status, code and address, never the provider's own words: those may quote the
prompt, and errors end up in logs.
"""

from __future__ import annotations


class ProviderError(Exception):
    """A provider did not produce the whole answer. `code` is stable and fit for metrics."""

    code = "provider_error"


class Unavailable(ProviderError):
    """The provider cannot be reached, is too slow or says that it is overloaded."""

    code = "provider_unavailable"


class RateLimited(Unavailable):
    """Too many requests. `retry_after_s` is None where the provider names no time."""

    code = "provider_rate_limited"

    def __init__(self, message: str, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Rejected(ProviderError):
    """The provider refuses the request, the key, the model or the address."""

    code = "provider_rejected"


class Interrupted(ProviderError):
    """The stream broke off after its first piece of text."""

    code = "provider_interrupted"
