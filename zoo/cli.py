"""The command `zoo`. The commands are in `zoo.commands`; every error becomes one line and an exit status."""

import os
import sys
import warnings

import click

from zoo.commands import answering, deploying, showing, training
from zoo.errors import InputError, Stopped, ZooError, unknown


class _Commands(click.Group):
    """Prints an error as one line and ends with an exit status."""

    def main(self, *args, **kwargs):
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}) or 0)
        except Stopped as error:
            _fail(str(error), 128 + error.number)
        except ZooError as error:
            _fail(str(error), 1 if isinstance(error, InputError) else 2)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help())
            sys.exit(0)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", 130)
        except BrokenPipeError:  # the reader of the output has ended, as in `zoo list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
        except Exception as error:
            if os.environ.get("ZOO_DEBUG"):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            _fail(f"internal error, {reason} (ZOO_DEBUG=1 shows the traceback)", 1)

    def format_commands(self, context, formatter):
        """Lists every command with its whole summary; click cuts them at the width of a line."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
            )

    def resolve_command(self, context, args):
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(context, args)


def _one_line(message, category, filename, lineno, line=None) -> str:
    """A warning as an error is printed, without the line of code that it comes from."""
    return f"zoo: {' '.join(str(message).split())}\n"


def _fail(message: str, status: int) -> None:
    click.echo(f"zoo: {' '.join(message.split())}", err=True)
    sys.exit(status)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--threads", type=click.IntRange(1, 1024), help="Most threads per operation.")
@click.version_option(package_name="keras-zoo")
def main(threads: int | None) -> None:
    """The systems of the review "Deep learning" (Nature 2015), by name, with trained weights.

    \b
    Start with:  zoo demo
                 zoo list
                 zoo predict lenet5.mnist digit.png
    """
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="replace")  # characters that a terminal can't show are no error
    usual, warnings.formatwarning = warnings.formatwarning, _one_line
    click.get_current_context().call_on_close(lambda: setattr(warnings, "formatwarning", usual))
    if threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)


for each in (
    showing.list_command,
    showing.info,
    answering.predict,
    answering.listen,
    answering.embed,
    answering.evaluate,
    training.train,
    training.tune,
    deploying.export,
    deploying.verify,
    deploying.serve,
    deploying.app,
    answering.explain,
    showing.benchmark,
    showing.demo,
    showing.cache,
):
    main.add_command(each)


if __name__ == "__main__":
    main()
