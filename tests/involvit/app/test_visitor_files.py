import os
import time

from involvit.app import visitor_files


def test_what_has_arrived_of_an_upload_that_broke_off_goes_and_one_that_goes_on_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(visitor_files, "UPLOADS", tmp_path)
    (tmp_path / "tmp_folder").mkdir()
    for name, age in (("tmp_broken", 700), ("tmp_going_on", 5), ("tmp_folder", 700)):
        (tmp_path / name).is_dir() or (tmp_path / name).write_text("pix")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    visitor_files.remove_broken_uploads()
    assert {path.name for path in tmp_path.iterdir()} == {"tmp_going_on", "tmp_folder"}
