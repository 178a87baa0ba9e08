import sys

from involvit.__main__ import main


class Interrupted:
    """A finder of modules during whose work somebody presses Ctrl-C."""

    def find_spec(self, *_):
        raise KeyboardInterrupt


def test_ctrl_c_while_the_program_is_imported_is_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "involvit.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    assert main(["predict"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
