"""Opens sealed texts with the key store, for `sinks.clickhouse.rows`."""

from __future__ import annotations

import logging

from infra.keys.errors import KeyErased, SealBroken
from infra.keys.sealing import Sealer
from schemas.envelope import Sealed
from sinks.clickhouse.rows import OpenText

log = logging.getLogger(__name__)


def opening_with(sealer: Sealer) -> OpenText:
    """Texts by `sealer`; None for those whose key was erased or that were tampered with."""

    def open_text(sealed: Sealed, tenant_id: str, conversation_id: str) -> str | None:
        try:
            return sealer.open(sealed, tenant_id=tenant_id, conversation_id=conversation_id)
        except KeyErased:
            return None
        except SealBroken as error:
            log.error("a text is left out of ClickHouse: %s", error)
            return None

    return open_text
