from involvit.app import session_files
from involvit.app.session_files import SessionFiles


def upload(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("pixels")
    return path


def test_what_a_session_got_and_sent_goes_when_it_is_forgotten_and_that_of_others_stays(tmp_path):
    sessions = SessionFiles(tmp_path)
    ann, ben = (sessions.new_folder(name) for name in ("ann", "ben"))
    (ann / "faces.csv").write_text("a")
    (ben / "faces.csv").write_text("b")
    sent = upload(tmp_path / "uploads/1/face.jpg")
    sessions.adopt("ann", sent)
    sessions.forget("ann")
    assert not ann.exists() and not sent.exists()
    assert (ben / "faces.csv").read_text() == "b"


def test_a_file_that_two_sessions_sent_goes_with_the_second(tmp_path):
    sessions, sent = SessionFiles(tmp_path), upload(tmp_path / "face.jpg")
    sessions.adopt("ann", sent)
    sessions.adopt("ben", str(sent))
    sessions.forget("ann")
    assert sent.exists()
    sessions.forget("ben")
    assert not sent.exists()


def test_no_folder_is_given_twice_and_none_is_named_after_its_session(tmp_path):
    sessions = SessionFiles(tmp_path)
    folders = [sessions.new_folder(name) for name in ("ann", "ann", "ben")]
    assert len(set(folders)) == 3
    assert folders[0].parent == folders[1].parent != folders[2].parent
    assert not any("ann" in str(folder.relative_to(tmp_path)) for folder in folders)


def test_a_session_that_asked_for_nothing_for_long_is_forgotten(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(session_files, "MAX_IDLE_S", 60)
    sessions = SessionFiles(tmp_path)
    ann = sessions.new_folder("ann")
    now = 59.0
    sessions.new_folder("ben")
    assert ann.exists()
    now = 61.0
    sessions.new_folder("ben")
    assert not ann.exists()


def test_forgetting_what_is_not_known_or_gone_already_does_nothing(tmp_path):
    sessions = SessionFiles(tmp_path)
    sessions.forget("ann")
    sessions.adopt("ann", tmp_path / "deleted.jpg")
    sessions.forget("ann")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_program_sent_does_not_keep_what_it_sent_besides(tmp_path):
    sessions, photos = SessionFiles(tmp_path), [upload(tmp_path / f"sent/{name}.jpg") for name in "abc"]
    for path in (tmp_path / "sent", *photos):
        sessions.adopt("ann", path)
    sessions.forget("ann")
    assert list((tmp_path / "sent").iterdir()) == []
