"""Reading lines from files and pipes."""

from types import SimpleNamespace

from zoo import terminal
from zoo.tasks import task_class


def test_a_line_that_is_too_long_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "LINE", 10)
    (tmp_path / "lines").write_bytes(b"x" * 25 + b"\nbad\n" + b"y" * 9 + b"\n" + b"z" * 20)
    assert list(terminal.items([], terminal.open_lines(str(tmp_path / "lines")), task_class("translation"))) == [
        "x" * 10,
        "bad",
        "y" * 9,
        "z" * 10,
    ]


def test_an_explanation_of_a_doubtful_answer_has_its_warning(capsys):
    module = SimpleNamespace(line=lambda row: f"{row['input']}: {row['text']}")
    terminal.explained([{"input": "a", "text": "b", "warning": "unusual"}], module, "preset", "out.png", False)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["a: b", "picture written to out.png"]
    assert captured.err == "zoo: a: unusual\n"
