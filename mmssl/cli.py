"""The command line; everything heavy is imported only when a command runs."""

import atexit
import errno
import os
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mmssl.errors import ConfigError, MmsslError

app = typer.Typer(
    help="Self-supervised pretraining on text, images, audio and video, as one idea: an energy.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # on any file that a command writes
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys that replace the config's.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]


@app.command()
def pretrain(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    override_on_resume: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A key that may differ from the run that is there.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train; run again on the same folder, it resumes."""
    from mmssl.stopping import answered, stop_at_once

    with answered(stop_at_once):
        from mmssl.config import load_config
        from mmssl.distributed import all_alive
        from mmssl.runs import task_of

        loaded = load_config(config, overrides or [])
        with all_alive():
            task_of(loaded).main(loaded, changed=tuple(override_on_resume or ()))


@app.command()
def evaluate(run: RunFolder, overrides: Overrides = None, debug: Debug = False) -> None:
    """Energy gap, collapse, probes; writes RUN/evaluation.json and prints a table."""
    from mmssl.runs import open_task

    task, config, found = open_task(run, overrides or [])
    task.evaluate(config, found)


@app.command()
def predict(
    run: RunFolder,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Text with [MASK], captions, or files.")],
    samples: Annotated[int, typer.Option(min=1, help="How many completions to draw; 1 shows the best words.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what is predicted here.")] = None,
    hide: Annotated[
        str | None, typer.Option(metavar="RANGES", help="Seconds of a sound to hide and fill in: 0.4-0.7,1.0-1.2.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Fill in what is hidden: what the method hides, or --hide."""
    from mmssl.runs import open_task

    task, config, found = open_task(run)
    if hide is None:
        task.predict(config, found, inputs, samples=samples, out=out)
    elif hasattr(task, "fill"):
        task.fill(config, found, inputs, hide, samples=samples, out=out)
    else:
        raise ConfigError(
            f"predict --hide: task {config.task} reads more than sounds, or none; expected a run on sounds"
        )


@app.command()
def score(
    run: RunFolder,
    x: Annotated[
        str, typer.Argument(metavar="X", help="What is seen: text whose [MASK]s Y fills, a caption, or a file.")
    ],
    candidates: Annotated[list[str], typer.Argument(metavar="Y...", help="Candidates: text, or files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """The energy F(X, Y) of each candidate, lowest first. Of videos X is what was and each Y a file of what comes next:
    the end of X is shown, the beginning of Y compared, where the run predicts whole frames; else both are whole clips.
    """
    from mmssl.runs import open_task

    task, config, found = open_task(run)
    task.score(config, found, x, candidates, as_json=as_json)


@app.command()
def embed(
    run: RunFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, file or source as in a config.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet file.")],
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Features to parquet, with the sample's path and label."""
    from mmssl.runs import open_task

    task, config, found = open_task(run, overrides or [])
    task.embed(config, found, data, out)


@app.command()
def export(
    run: RunFolder,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the checkpoint is written.")],
    debug: Debug = False,
) -> None:
    """A stock `transformers` checkpoint."""
    from mmssl.runs import open_task

    task, config, found = open_task(run)
    task.export(config, found, folder)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run, or several to compare.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: RUN/report.html.")] = None,
    debug: Debug = False,
) -> None:
    """One self-contained HTML page."""
    from mmssl.report import write_report

    print(write_report(runs, out))


@app.command()
def data(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the sheet here, too.")] = None,
    debug: Debug = False,
) -> None:
    """What the model will see: a sheet of masked text, pictures, spectrograms or clips."""
    from mmssl.config import load_config
    from mmssl.runs import task_of

    loaded = load_config(config, overrides or [])
    task_of(loaded).preview(loaded, out=out)


def main() -> None:
    """Run the command line; every error is one line on stderr and an exit code."""
    debug = "--debug" in sys.argv
    try:
        code = app(prog_name="mmssl", standalone_mode=False)
    except Exception as error:  # the boundary: whatever happens, a user gets one line
        if debug:
            traceback.print_exc()
        line, code = answer(error)
        with suppress(OSError):  # stderr may lie on the disk that is full
            if line:
                print(f"mmssl: {line}", file=sys.stderr, flush=True)
        leave(code)
    except SystemExit as end:
        leave(int(end.code or 0))
    else:
        leave(code or 0)  # 0 after help, nothing after a command


def answer(error: Exception) -> tuple[str, int]:
    """The line and the exit code for an error."""
    if hasattr(error, "format_message"):  # of what Typer raises no class has a name that lasts
        return misuse(error), 2
    if isinstance(error, typer.Abort):
        return "stopped by Ctrl-C", 1
    said = printable((str(error).strip().splitlines() or ["no message"])[0])
    if isinstance(error, MmsslError):
        return said, error.exit_code
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = error.filename or "output"
        return f"{where}: {error.strerror}; expected a disk with free space that can be written", 4
    return f"{type(error).__name__}: {said}", 1


def misuse(error: Any) -> str:
    """What is wrong with the words of a command; nothing where its help was shown in answer."""
    if not (said := error.format_message().strip()):
        return ""
    command = error.ctx.command_path if error.ctx is not None else "mmssl"
    said = f"{said.rstrip('.')}; got {shlex.join(sys.argv[1:])}; expected what {command} --help says"
    return printable(" ".join(said.split()))


def printable(text: str) -> str:
    """A text without what would control a terminal: names of files and members come from elsewhere."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def leave(code: int) -> NoReturn:
    """End this process, and first what belongs to it, if training had begun."""
    if "mmssl.train" in sys.modules:
        sys.modules["mmssl.train"].leave()
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        # PyTorch may wait for ever as it frees what belongs to a group of processes: it holds the interpreter's lock,
        # for which the group's threads wait
        atexit._run_exitfuncs()
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
