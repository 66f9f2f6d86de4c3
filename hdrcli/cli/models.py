"""``hdrcli models``: the bundles there are, their cards and integrity; making one of a run, taking one from elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import Debug, Json, Overwrite
from hdrcli.cli.presentation import Command, Presenter, printable, style, table, uses
from hdrcli.cli.train import training_extra
from hdrcli.errors import HdrcliError, MissingModel, UsageError

if TYPE_CHECKING:
    from hdrcli.inference.bundles import Bundle

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False, help="Names or folders; else all.")]


@app.callback()
def models(ctx: typer.Context) -> int:
    """The models that are here: list, show, verify, export, import."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.OK


@app.command("list", cls=Command, short_help="What --model finds by name.")
def list_models(ctx: typer.Context, as_json: Json = False, debug: Debug = False) -> int:
    """List the bundles that --model finds by name, and the classical operators."""
    from hdrcli import registry
    from hdrcli.inference import bundles

    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    folders = tuple(bundles.installed())
    faults: list[ExitCode] = []
    rows = []
    for folder in folders:
        try:
            bundle = bundles.read(folder)
            facts = _facts(bundle)
        except (HdrcliError, OSError) as error:  # one that can't be read does not hide the others
            faults.append(say.fault(error, folder))
            continue
        rows.append((bundle.name, bundle.version, facts["recipe"], _size_text(facts["bytes"]), facts["files"], str(folder)))
        say.record({"name": bundle.name, "version": bundle.version, **facts, "folder": str(folder)})
    for name in registry.names("hdrcli.expansion"):
        summary = registry.load("hdrcli.expansion", name).SUMMARY
        rows.append((name, "-", "classical", "-", "-", summary))
        say.record({"name": name, "recipe": "classical", "summary": summary})
    if not as_json:
        table(("NAME", "VERSION", "RECIPE", "SIZE", "HOLDS", "WHERE"), [[printable(cell) for cell in row] for row in rows])
    return code_of_all(faults, len(folders))


def _facts(bundle: Bundle) -> dict[str, Any]:
    sizes = [path.stat().st_size for name in bundle.card["files"] if (path := bundle.folder / name).is_file()]
    recipe = str(bundle.card.get("training", {}).get("recipe", "-"))
    return {"recipe": recipe, "bytes": sum(sizes), "files": ", ".join(bundle.card["files"])}


def _size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


@app.command("show", cls=Command, short_help="A bundle's card.")
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Name or folder of a bundle.")],
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Show a bundle's card: what it is, takes and gives, what it was trained on, and its scores if it has been scored."""
    from hdrcli.inference import bundles

    bundle = bundles.read(bundles.find(name))
    if as_json:
        print(json.dumps({"name": bundle.name, "folder": str(bundle.folder), **bundle.card}, default=_json_text))
        return ExitCode.OK
    print(f"{style(printable(bundle.name), '1', sys.stdout)}  {printable(bundle.folder)}")
    for section, values in bundle.card.items():
        if not isinstance(values, Mapping):
            continue
        print(f"\n{style(printable(section), '1', sys.stdout)}")
        for line in _lines(values, "  "):
            print(line)
    return ExitCode.OK


def _json_text(value: object) -> str:
    """TOML has dates and times, JSON has not."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _lines(values: Mapping[str, Any], indent: str) -> list[str]:
    width = max((len(key) for key, value in values.items() if not _is_nested(value)), default=0)
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{printable(key)}", *_lines(value, indent + "  ")]
        elif _is_nested(value):
            for entry in value:
                lines += [f"{indent}{printable(key)}", *_lines(entry, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{printable(key).ljust(width)}  {printable(text)}")
    return lines


def _is_nested(value: object) -> bool:
    entries = value if isinstance(value, list) else [value]
    return bool(entries) and all(isinstance(entry, Mapping) for entry in entries)


@app.command("verify", cls=Command, short_help="Check files against the SHA-256 on their cards.")
def verify(ctx: typer.Context, names: Names = None, debug: Debug = False) -> int:
    """Compare every file of these bundles with the SHA-256 on its card."""
    from hdrcli.inference import bundles

    say = Presenter(debug=ctx.obj.debug)
    wanted: Sequence[str | Path] = names or tuple(bundles.installed())
    if not wanted:
        raise MissingModel("no bundles are installed", remedy=f"put them in a folder that {bundles.ENVIRONMENT} names")
    faults: list[ExitCode] = []
    for name in wanted:
        try:
            bundle = bundles.read(bundles.find(str(name)))
            bundles.verify(bundle)
        except HdrcliError as error:
            faults.append(say.fault(error, name))
        else:
            print(f"{printable(bundle.name)}: {len(bundle.card['files'])} file(s) as on the card")
    if not faults:
        return ExitCode.OK
    return faults[0] if len(set(faults)) == 1 else ExitCode.FAILURE


@app.command("export", cls=Command, short_help="Make a bundle of a training run.")
def export(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", show_default=False, readable=False, help="Folder of a training run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle's folder; its name is the model's.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Put the run's G_X into this bundle instead.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights rounded to 16 bits: half the size, computed in 32 all the same.")
    ] = False,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> int:
    """Export a training run as a bundle: ONNX, checked against torch, and a model card.

    A run of llm-hdr gives both ways: g_y.onnx (expand) and g_x.onnx (tone-map); one of toning the way back alone.
    """
    say = Presenter(debug=ctx.obj.debug)
    with training_extra("exporting a bundle"):
        from hdrcli.training.export import add_way_back, write_bundle

        if (output is None) == (into is None):
            raise UsageError("needs -o or --into, one of them", remedy="name the bundle's folder with -o")
        if into is not None:
            folder = add_way_back(run, into, overwrite=overwrite, half=half)
        elif output is not None:
            folder = write_bundle(run, output, overwrite=overwrite, half=half)
    say.result(f"{printable(run)} -> {printable(folder)}")
    return ExitCode.OK


@app.command("import", cls=Command, short_help="Take a bundle from elsewhere.")
def import_bundle(
    ctx: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="PATH", show_default=False, readable=False, help="A bundle: folder, .zip or .tar archive."),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", show_default=False, help="The model's name; else that of PATH.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> int:
    """Put a bundle from elsewhere where --model NAME finds it, if it is whole, as its card says, and runs.

    Only the card and the ONNX and safetensors files that it names are taken: nothing that could hold code.
    """
    from hdrcli.inference.importing import install

    say = Presenter(debug=ctx.obj.debug)
    bundle = install(source, name, overwrite=overwrite)
    say.result(f"{printable(source)} -> {printable(bundle.folder)}; use it: {uses(bundle.roles, bundle.name)}")
    return ExitCode.OK
