"""`sandbox`, `worker` and `beat`: the commands that run until they are stopped."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from audience_sync.cli import codes
from audience_sync.errors import ConfigurationError

_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command()(sandbox)
    for command in (worker, beat):  # they explain their options themselves
        application.command(context_settings=_PASSED_ON, add_help_option=False)(command)


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8600,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    discard: Annotated[
        bool, typer.Option("--discard", help="Validate and count, but keep no member.")
    ] = False,
    match_share: Annotated[
        float, typer.Option(min=0, max=1, help="The share of people that the partners know.")
    ] = 0.65,
    strict_quotas: Annotated[
        bool, typer.Option("--strict-quotas", help="Enforce the partners' request quotas.")
    ] = False,
    strict_minimum: Annotated[
        bool,
        typer.Option(
            "--strict-minimum",
            help="At TikTok refuse to take a list from files below 1,000 members.",
        ),
    ] = False,
    processing_seconds: Annotated[
        float, typer.Option(min=0, help="How long Google works on an upload.")
    ] = 3.0,
) -> int:
    """Run simulated partners on this machine, until Ctrl-C. They forget everything then."""
    from audience_sync.sandbox import SandboxOptions, run  # noqa: PLC0415 - keeps --help light

    options = SandboxOptions(
        discard=discard,
        match_share=match_share,
        strict_quotas=strict_quotas,
        tiktok_strict_minimum=strict_minimum,
        google_processing_seconds=processing_seconds,
    )
    run(host, port, options, _ready)
    return codes.DONE


def _ready(url: str) -> None:
    from audience_sync.sandbox.access import accesses  # noqa: PLC0415 - keeps --help light

    print("Simulated partners, and what a destination writes to reach them:\n")
    for access in accesses(url):
        print(f"{access.connector:11}base_url: {access.base_url}")
        for name, text in access.settings.items():
            print(f"{'':11}{name}: {text}")
    print(f"\nWhat they hold: {url}/_control/state   Ctrl-C ends them", flush=True)


def worker(context: typer.Context) -> int:
    """Run a Celery worker of this project."""
    return _celery("worker", context.args)


def beat(context: typer.Context) -> int:
    """Run the scheduler of this project."""
    return _celery("beat", context.args)


def _celery(name: str, arguments: Sequence[str]) -> int:
    try:
        module = importlib.import_module("audience_sync.worker.command")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "Celery is not installed; install audience-sync with all its dependencies"
        ) from None
    ended = getattr(module, name)(list(arguments))
    return ended if isinstance(ended, int) else codes.DONE
