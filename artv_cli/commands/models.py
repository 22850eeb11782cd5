"""Commands about models: ls, show."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, get_args

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import emit_json, emit_table
from artv_cli.model.folder import EMBEDDED_MODELS, ModelFolder, embedded_models, find_model
from artv_cli.storybook.characters import CHARACTERS
from artv_cli.storybook.repertoire import MOTIONS
from artv_cli.storybook.scenes import SCENES, Weather
from artv_cli.storybook.vocabulary import KNOWN_WORDS


def ls(talk: TalkOptions) -> None:
    """List the models that came with artv.

    artv models ls

    Any model folder and any hub id can be given to --model as well.
    """
    found = [find_model(name) for name in embedded_models()]
    if talk.json:
        emit_json([_facts(model) for model in found])
        return
    rows = (
        (m.name, "x".join(map(str, m.preferences.size)), m.preferences.dtype, m.path) for m in found
    )
    emit_table(("model", "size", "dtype", "folder"), rows)


def show(
    name: Annotated[
        str, typer.Argument(help="An embedded model, a model folder, or a hub id.", metavar="NAME")
    ],
    talk: TalkOptions,
) -> None:
    """Show what a model is, what it does when nothing is said, and what the embedded one knows.

    artv models show storybook
    artv models show ./my-model --json
    """
    facts = _facts(find_model(name))
    if talk.json:
        emit_json(facts)
    else:
        emit_table(("", ""), ((name, _told(fact)) for name, fact in facts.items()))


def _facts(model: ModelFolder) -> dict[str, Any]:
    liked = model.preferences
    return {
        "name": model.name,
        "path": str(model.path),
        "fingerprint": model.fingerprint,
        "size": list(liked.size),
        "size_multiple": model.size_multiple,
        "dtype": liked.dtype,
        "autoencoder": model.autoencoder,
        "static_noise": liked.static_noise,
        **dataclasses.asdict(liked.sampling),
        **(_world() if model.name in EMBEDDED_MODELS else {}),
    }


def _told(fact: Any) -> str:
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)


def _world() -> dict[str, Any]:
    """Return what the embedded model has seen, and the words in which it was told."""
    return {
        "characters": sorted(CHARACTERS),
        "scenes": sorted(SCENES),
        "motions": list(MOTIONS),
        "weathers": list(get_args(Weather)),
        "words": sorted(KNOWN_WORDS),
    }
