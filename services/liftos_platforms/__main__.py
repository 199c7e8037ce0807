"""`python -m liftos_platforms serve`: all faces and their control port, until SIGTERM.

Prints one line of JSON with the ports that are bound when everything answers.
"""

import argparse
import asyncio
import json
import signal
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime

from liftos_platforms.clock import VirtualClock
from liftos_platforms.control import ControlServer
from liftos_platforms.simulation import START, Simulation
from liftos_platforms.worlds import WorldPlan, build_world

_DEFAULT = WorldPlan()
_LIVE_SENDS = 156
"""One a week, over three years."""
_SIZES = ("campaigns", "ad_groups", "ads", "sends", "flows")


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(
        prog="liftos_platforms", description="Simulated advertising platforms"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer as Meta, Google Ads and Klaviyo")
    serve.add_argument("--host", default="127.0.0.1")
    for name in ("meta", "google-ads", "google-ads-rest", "klaviyo", "control"):
        serve.add_argument(f"--{name}-port", type=int, default=0, help="0 takes a free one")
    serve.add_argument("--seed", type=int, default=_DEFAULT.seed, help="same seed, same world")
    serve.add_argument("--first-day", type=date.fromisoformat, default=_DEFAULT.first_day)
    serve.add_argument("--last-day", type=date.fromisoformat, default=_DEFAULT.last_day)
    for name in _SIZES:
        serve.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(_DEFAULT, name))
    serve.add_argument(
        "--now", type=datetime.fromisoformat, default=START, help="where the clock stands at first"
    )
    serve.add_argument("--running-clock", action="store_true", help="let the clock go on by itself")
    serve.add_argument(
        "--live", action="store_true", help="the present: last year to next, by the real clock"
    )
    arguments = parser.parse_args()
    if arguments.live:
        _set_live(arguments)
    asyncio.run(_serve(arguments))
    return 0


def _set_live(arguments: argparse.Namespace) -> None:
    """Show the present, in a world that a restart within the same year does not change."""
    now = datetime.now(UTC)
    arguments.now, arguments.running_clock = now, True
    arguments.first_day = date(now.year - 1, 1, 1)
    arguments.last_day = date(now.year + 1, 12, 31)
    arguments.sends = _LIVE_SENDS


async def _serve(arguments: argparse.Namespace) -> None:
    # Here, so that a wrong option is told at once: Google's messages take a second to load.
    from liftos_platforms.google_ads.face import GoogleAdsFace  # noqa: PLC0415
    from liftos_platforms.klaviyo.face import KlaviyoFace  # noqa: PLC0415
    from liftos_platforms.meta.face import MetaFace  # noqa: PLC0415

    sizes = {name: getattr(arguments, name) for name in _SIZES}
    plan = WorldPlan(
        seed=arguments.seed, first_day=arguments.first_day, last_day=arguments.last_day, **sizes
    )
    simulation = Simulation(
        world=build_world(plan),
        clock=VirtualClock(arguments.now, is_running=arguments.running_clock),
    )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    meta, klaviyo = MetaFace(simulation), KlaviyoFace(simulation)
    google_ads, control = GoogleAdsFace(simulation), ControlServer(simulation)
    host = arguments.host
    async with AsyncExitStack() as stack:
        for face in (meta, google_ads, klaviyo, control):
            stack.push_async_callback(face.stop)
        await meta.start(host, arguments.meta_port)
        await google_ads.start(host, arguments.google_ads_port, arguments.google_ads_rest_port)
        await klaviyo.start(host, arguments.klaviyo_port)
        await control.start(host, arguments.control_port)
        ports = {
            "meta_port": meta.port,
            "google_ads_port": google_ads.port,
            "google_ads_rest_port": google_ads.rest_port,
            "klaviyo_port": klaviyo.port,
            "control_port": control.port,
        }
        print(json.dumps(ports), flush=True)
        await stopped.wait()


if __name__ == "__main__":
    raise SystemExit(main())
