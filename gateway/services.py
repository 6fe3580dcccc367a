"""What all sockets of a gateway share."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth import Verifier
from gateway.authorise import Owners
from gateway.bells import Bells
from gateway.commands import CommandDesk
from gateway.frame_counts import FrameCounts
from gateway.limits import CommandLimit, SocketLimit
from gateway.read_model import ReadModel
from infra.keys import Sealer
from infra.settings.behaviour import GatewaySettings
from infra.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind a socket, each made once per process."""

    settings: GatewaySettings
    verifier: Verifier
    sealer: Sealer
    desk: CommandDesk
    bells: Bells
    read_model: ReadModel
    owners: Owners
    command_limit: CommandLimit
    socket_limit: SocketLimit
    metrics: Metrics
    frame_counts: FrameCounts
    server_name: str
