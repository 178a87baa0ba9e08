import pytest

from involvit.cli import main
from involvit.evaluation import command_line


def test_absolute_folders_are_not_told():
    assert (
        command_line.command_line(["evaluate", "--data", "/home/me/my faces.zip", "--model", "outputs/a"])
        == "involvit evaluate --data 'my faces.zip' --model outputs/a"
    )


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_each_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_flags_reach_the_function(monkeypatch, tmp_path, capsys):
    from involvit.evaluation.evaluate import run

    seen = {}
    monkeypatch.setattr(run, "evaluate_models", lambda **options: seen.update(options) or tmp_path)
    words = ["--model", "a", "--model", "b=c", "--data", "faces", "--split", "kfold", "--fold", "2", "--seed", "7"]
    assert main(["evaluate", *words]) == 0
    assert seen["models"] == ["a", "b=c"]
    assert (seen["split"], seen["fold"], seen["seed"]) == ("kfold", 2, 7)
    assert "validation_fraction" not in seen  # the default is where it is used
    assert capsys.readouterr().out == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "m.onnx", "--model", "m.onnx", "--data", "rendered"], "named twice"),
        (["--model", "./nowhere", "--data", "rendered"], "no such folder"),
        (["--data", "./nowhere.zip"], "does not exist"),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_other_classes_is_one_line(write_onnx, tmp_path, capsys):
    write_onnx(tmp_path / "pets.onnx", labels=("cat", "dog"))
    assert main(["evaluate", "--model", str(tmp_path / "pets.onnx"), "--data", "rendered"]) == 2
    assert "pets.onnx answers cat, dog, but the data is labelled Angry" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pets.onnx"]
