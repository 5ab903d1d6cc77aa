"""The command line: `datasel run | score | select | train | publish RECIPE`, `compare RECIPE RECIPE ...`, `report RUN`."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hf_datasel
from hf_datasel.errors import BadRecipe, DataselError


COMMANDS = {
    "run": "score, select, train and write the card: all of the below",
    "score": "give every row of the pool its scores",
    "select": "score, then pick rows",
    "train": "score, select, then train on what was picked",
    "publish": "put the selection on the Hub, and the trained target (`publish.model_repo_id`) and the report page "
    "(`publish.space_repo_id`) if the recipe names places for them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a fault that is the user's to mend, or 130 when interrupted."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_datasel").setLevel(os.environ.get("HF_DATASEL_VERBOSITY", "info").upper())
    # Set before transformers and datasets are imported: both read their environment then.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return _run(arguments)
    except DataselError as error:
        print(f"datasel: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_full(error):
            raise
        print(
            f"datasel: the disk is full. What is finished is kept in {arguments.output_dir}: free some space, and the same "
            f"command goes on from there. (TMPDIR and HF_HOME, where libraries write too, may be on another disk.)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(
            f"\ndatasel: stopped. What is finished is kept in {arguments.output_dir}: the same command goes on from there.",
            file=sys.stderr,
        )
        return 130


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that nothing can be written any more. Some libraries only say so."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it."""
    top = argparse.ArgumentParser(prog="datasel", description="Of all the rows I could fine-tune on, which should I?")
    top.add_argument("--version", action="version", version=f"hf_datasel {hf_datasel.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        command.add_argument("recipe", type=Path, help="a YAML recipe")
        _add_options(command, "the run folder (default: runs/NAME_OF_THE_RECIPE)")
        dry = "check the recipe and its data, run nothing"
        if name == "publish":
            dry = "write what would be published to the run folder's publish/, send nothing"
        command.add_argument("--dry-run", action="store_true", help=dry)
    purpose = "train on the selections of several recipes under one contract: metric against training samples"
    compare = commands.add_parser("compare", help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    compare.add_argument("recipes", type=Path, nargs="+", metavar="recipe", help="YAML recipes with the same `train`")
    _add_options(compare, "the folder of the study (default: runs/comparison)")
    compare.add_argument("--points", type=int, default=5, help="measurements of a training (default: 5)")
    compare.add_argument(
        "--protocols", nargs="+", choices=("A", "B"), default=["A", "B"],
        help="as many passes over each arm's rows (A), as many steps for each arm (B); default: both",
    )  # fmt: skip
    compare.add_argument("--dry-run", action="store_true", help="check the recipes and their data, run nothing")
    purpose = "write the page to look at a finished run: one HTML file that works offline"
    report = commands.add_parser("report", help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    report.add_argument("run", type=Path, help="a run folder")
    report.add_argument("--output", type=Path, default=None, help="the page (default: report.html in the run folder)")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    return top


def _add_options(command: argparse.ArgumentParser, folder: str) -> None:
    command.add_argument("--output-dir", type=Path, default=None, help=folder)
    command.add_argument(
        "--set", action="append", default=[], metavar="PLACE=VALUE", dest="overrides",
        help="a value of the recipe by its dotted place, such as score.proxy.dtype=float64; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--runner", choices=("local", "torchrun", "ray"), default="local",
        help="who scores: this process, several on this machine, or the actors of a Ray cluster",
    )  # fmt: skip
    command.add_argument("--processes", type=int, default=1, help="how many workers (default: 1)")


def _run(arguments: argparse.Namespace) -> int:
    from hf_datasel.recipe import Run, load_recipe

    if arguments.command == "report":
        return _report(arguments)
    if arguments.processes < 1 or (arguments.processes > 1 and arguments.runner == "local"):
        raise BadRecipe(
            f"`--processes` is {arguments.processes} with --runner {arguments.runner}, expected at least 1, and more with "
            f"--runner torchrun or ray."
        )
    if arguments.command == "compare":
        return _compare(arguments)
    arguments.output_dir = arguments.output_dir or Path("runs") / arguments.recipe.stem
    recipe = load_recipe(arguments.recipe, _overrides(arguments.overrides))
    if arguments.dry_run and arguments.command != "publish":
        print(f"{arguments.recipe} is sound: {len(recipe.pool_rows)} rows in the pool.")
        return 0
    _make(arguments.output_dir)
    run = Run(recipe, arguments.output_dir, arguments.runner, arguments.processes)
    run.write_recipe()
    if arguments.command == "score":
        print(f"{len(run.scored())} rows scored: {arguments.output_dir / 'scores'}")
    elif arguments.command == "select":
        for arm, selection in run.selections().items():
            print(f"{arm}: {selection!r}")
            print(run.account(arm), end="")
        print(
            f"\nSee {arguments.output_dir / 'selection'}: selection.json and rows.parquet, a folder for each further arm"
        )
    elif arguments.command == "publish":
        print(f"{'Written to' if arguments.dry_run else 'Published:'} {run.publish(arguments.dry_run).url}")
    else:
        print(run.report(train=arguments.command == "train" or recipe.train is not None))
        print(f"\nSee {arguments.output_dir / 'README.md'}, or: datasel report {arguments.output_dir} --open")
    run.refuse_another_writer()
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from hf_datasel.recipe.comparing import Comparison, load_recipes, table

    arguments.output_dir = arguments.output_dir or Path("runs") / "comparison"
    recipes = load_recipes(arguments.recipes, _overrides(arguments.overrides))
    study = Comparison(
        recipes,
        arguments.output_dir,
        arguments.points,
        arguments.runner,
        arguments.processes,
        tuple(arguments.protocols),
    )
    if arguments.dry_run:
        print(f"{', '.join(recipes)} are sound and can be compared.")
        return 0
    _make(arguments.output_dir)
    print(table(study.report()))
    print(f"\nSee {arguments.output_dir / 'README.md'}")
    return 0


def _make(folder: Path) -> None:
    """Say now that there is no place to write, not after an hour of scoring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadRecipe(
            f"`--output-dir` is {str(folder)!r}, expected a folder to write to ({error.strerror}). Name another."
        ) from error


def _report(arguments: argparse.Namespace) -> int:
    from hf_datasel.recipe.page import report

    arguments.output_dir = arguments.run
    page = report(arguments.run, arguments.output)
    print(f"{page}, {page.stat().st_size / 1e6:.1f} MB")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _overrides(given: Sequence[str]) -> dict[str, Any]:
    from hf_datasel.recipe.reading import parsed

    overrides = {}
    for item in given:
        place, equals, value = item.partition("=")
        if not equals:
            raise DataselError(f"`--set` is {item!r}, expected PLACE=VALUE, such as score.proxy.dtype=float64.")
        overrides[place] = parsed(value, f"`--set {place}`")
    return overrides


if __name__ == "__main__":
    sys.exit(main())
