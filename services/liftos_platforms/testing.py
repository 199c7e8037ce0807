"""All faces in this process, on free ports, with the clock, the faults and the truth in hand.

@pytest.fixture
async def platforms() -> AsyncIterator[Platforms]:
    async with running_platforms(Platform.META) as platforms:
        yield platforms

async def test_a_limited_account(platforms: Platforms) -> None:
    platforms.simulation.faults.add(Fault(FaultKind.INSIGHTS_LIMITED, Platform.META, amount=3))
    ...  # read from platforms.url(Platform.META) with platforms.token(Platform.META)
    expected = platforms.simulation.rows(Platform.META, "1001", level=Level.AD, day=day)
    assert platforms.simulation.faults.unstruck() == ()
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from liftos_platforms.faces import face_of
from liftos_platforms.simulation import Face, Simulation
from liftos_platforms.truth import Platform

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Platforms:
    """Running faces of one simulation.

    Attributes:
        simulation: World, clock, faults and journal of all faces.
        faces: The running faces; a face's own attributes (`MetaFace.app_secret`) are on it.
    """

    simulation: Simulation
    faces: Mapping[Platform, Face]

    def url(self, platform: Platform) -> str:
        """Where a face listens, as `http://127.0.0.1:40001`; Google's is its gRPC port."""
        return f"http://{HOST}:{self.faces[platform].port}"

    def token(self, platform: Platform, account_id: str = "") -> str:
        """The first living token of a platform, or of one that opens an account."""
        now = self.simulation.clock.now()
        for grant in self.simulation.world.grants:
            is_wanted = grant.platform is platform and account_id in {"", *grant.account_ids}
            if is_wanted and grant.is_alive(now):
                return grant.token
        raise LookupError(f"no living token of {platform.value} opens {account_id or 'anything'}")


@asynccontextmanager
async def running_platforms(
    *platforms: Platform, simulation: Simulation | None = None
) -> AsyncIterator[Platforms]:
    """Run faces while inside; all three where none is named.

    Args:
        *platforms: Which faces.
        simulation: What they show; a new one of the default world where none is given.
    """
    shared = simulation or Simulation()
    faces = {platform: face_of(platform, shared) for platform in platforms or tuple(Platform)}
    async with AsyncExitStack() as stack:
        for face in faces.values():
            await face.start(HOST, 0)
            stack.push_async_callback(face.stop)
        yield Platforms(shared, faces)
