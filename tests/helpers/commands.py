"""The command line, run in this process."""

from click.testing import CliRunner

from zoo.cli import main


def run_zoo(*arguments, input=None) -> tuple[int, str, str]:
    """Runs `zoo` with arguments: (exit status, standard output, standard error)."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
