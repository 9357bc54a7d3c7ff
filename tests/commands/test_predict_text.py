"""`zoo predict` with a preset that takes text: lines in, lines out."""

import json
import re

import pytest
from click.testing import CliRunner

from tests.helpers.kept_pipelines import kept_pipelines
from zoo.cli import main


@pytest.fixture(scope="module")
def predict(speller):
    """Runs `zoo predict` with the preset that spells."""

    def run(*arguments, charset="utf-8"):
        return CliRunner(charset=charset).invoke(main, ["predict", str(speller), *map(str, arguments)])

    with kept_pipelines(speller):
        yield run


def test_lines_keep_their_order_and_errors_name_their_lines(predict, tmp_path):
    (tmp_path / "lines").write_bytes(b"bad\n \n\xff\n  face \r\nzoo\nb\0e\n")
    done = predict("--file", tmp_path / "lines")
    assert done.stdout.split("\n") == ["B A D", "", "", "F A C E", "", "", ""]
    errors = done.stderr.split("\n")
    assert errors[0] == "zoo: line 3: \ufffd: not UTF-8"
    assert errors[2] == "zoo: line 6: b\ufffde: not in the vocabulary: '\ufffd'"
    assert done.exit_code == 1


def test_a_blank_line_is_answered_with_a_blank_line(predict, tmp_path):
    (tmp_path / "lines").write_bytes(b"bad\n\n  \nbed\n")
    done = predict("--file", tmp_path / "lines")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "B A D\n\n\nB E D\n", "")
    done = predict("--file", tmp_path / "lines", "--json", "--n-best", 2)
    rows = json.loads(done.stdout)
    assert (done.exit_code, [row["translation"] for row in rows]) == (0, ["B A D", None, None, "B E D"])
    assert rows[1] == rows[2] == {"input": "", "translation": None, "score": None, "alternatives": []}
    done = predict("--file", tmp_path / "lines", "--csv")
    assert (done.exit_code, done.stdout.splitlines()[2:4]) == (0, [",,,"] * 2)
    for form in ((), ("--json",), ("--csv",)):  # an argument is not a line
        done = predict("", *form)
        assert (done.exit_code, "empty text" in done.output) == (1, True)


def test_json_has_alternatives_and_errors(predict, tmp_path):
    rows = json.loads(predict("bad", tmp_path, "--json", "--n-best", 2, "--beam", 3).stdout)
    assert rows[0]["input"] == "bad"
    assert rows[0]["translation"] == "B A D"
    assert len(rows[0]["alternatives"]) == 1
    assert rows[1]["error"].startswith("not in the vocabulary: '/'")  # a sentence, and never a path


def test_alternatives_follow_the_answer(predict):
    """Each with its score, the best one too."""
    best, other = predict("bad", "--n-best", 2).stdout.splitlines()
    scores = [
        float(re.fullmatch(rf"{text}  \((-\d\.\d{{3}})\)", line)[1])
        for text, line in (("B A D", best), (" {4}.*", other))
    ]
    assert scores[0] > scores[1]
    assert predict("bad").stdout == "B A D\n"


def test_csv(predict):
    assert predict("bad", "--csv").stdout.splitlines()[1].startswith("bad,B A D,-")


def test_an_error_is_one_line_without_control_characters(predict):
    done = predict("\n\x1b[31m")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_a_terminal_of_few_characters(predict):
    rows = json.loads(predict("bad", "\u4e2d", "--json", charset="ascii").stdout)
    assert [row["input"] for row in rows] == ["bad", "\u4e2d"]
    assert predict("\u4e2d", "--csv", charset="ascii").stdout.splitlines()[1] == "?,,,not in the vocabulary: '?'"


def test_a_flag_of_another_task_is_refused(predict, speller):
    done = predict("bad", "--top", 2)
    assert done.exit_code == 2
    hint = f"did you mean --n-best? {speller} takes --beam, --n-best, predict takes --compare, --csv, "
    assert done.stderr.startswith(f"zoo: unknown option --top; {hint}")
    assert done.stderr.count("\n") == 1


def test_set_changes_a_setting_of_the_task(predict):
    assert predict("bad", "--set", "longest=5").stdout == "B A D\n"
    done = predict("bad", "--set", "longest=3")
    assert done.stderr.startswith("zoo: bad: ")
    assert done.exit_code == 1


def test_a_flag_overrides_set(predict):
    (row,) = json.loads(predict("bad", "--json", "--set", "n_best=1", "--n-best", 2).stdout)
    assert len(row["alternatives"]) == 1


def test_csv_has_columns_for_each_text(predict):
    (row,) = json.loads(predict("bad", "--json", "--n-best", 2).stdout)
    header, line = predict("bad", "--csv", "--n-best", 2).stdout.splitlines()
    assert header == "input,answer,score,answer_2,score_2,error"
    [other] = row["alternatives"]
    texts = [f"{each['translation']},{each['score']:.6f}" for each in (row, other)]
    assert line == f"bad,{texts[0]},{texts[1]},"


def test_a_doubtful_answer_has_a_warning(predict):
    """Beside the text on standard error, and in JSON and CSV."""
    done = predict("bad", "--set", "warn_below=0.0")
    warning = "doubtful answer: its log probability per token is below 0.0, so the input is probably unlike"
    assert (done.exit_code, done.stdout) == (0, "B A D\n")
    assert done.stderr.startswith(f"zoo: bad: {warning}")
    assert done.stderr.count("\n") == 1
    (row,) = json.loads(predict("bad", "--set", "warn_below=0.0", "--json").stdout)
    assert row["warning"].startswith(warning)
    header, line = predict("bad", "--set", "warn_below=0.0", "--csv").stdout.splitlines()
    assert header == "input,answer,score,warning,error"
    assert f',"{warning}' in line
    done = predict("bad", "--set", "warn_below=-100.0", "--json")
    assert "warning" not in json.loads(done.stdout)[0]
    assert done.stderr == ""
