"""Who writes the answers: the grounded provider, any OpenAI-compatible server, or both in a row."""

from infra.providers.deadlines import Timeouts
from infra.providers.errors import (
    Interrupted,
    ProviderError,
    RateLimited,
    Rejected,
    Unavailable,
)
from infra.providers.fallback import FallbackProvider
from infra.providers.grounded import GroundedProvider
from infra.providers.openai_compatible import Endpoint, OpenAICompatible
from infra.providers.port import (
    Finish,
    GenerationRequest,
    Message,
    Piece,
    Provider,
    TextDelta,
    Usage,
)
from infra.providers.prices import Prices

__all__ = [
    "Endpoint",
    "FallbackProvider",
    "Finish",
    "GenerationRequest",
    "GroundedProvider",
    "Interrupted",
    "Message",
    "OpenAICompatible",
    "Piece",
    "Prices",
    "Provider",
    "ProviderError",
    "RateLimited",
    "Rejected",
    "TextDelta",
    "Timeouts",
    "Unavailable",
    "Usage",
]
