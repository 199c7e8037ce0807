"""`liftos sources new`."""

from pathlib import Path

from typer.testing import CliRunner

from liftos_cli.commands.sources import app


def test_a_skeleton_is_written_once(tmp_path: Path) -> None:
    """The files are named in the order to look at them; none of them is ever overwritten."""
    folder = tmp_path / "acme_ads"
    runner = CliRunner()
    written = runner.invoke(app, ["new", "acme_ads", "--folder", str(folder)])
    assert written.exit_code == 0
    files = [Path(line) for line in written.stdout.splitlines() if line.startswith(str(folder))]
    assert [path.name for path in files][:2] == ["pyproject.toml", "__init__.py"]
    assert all(path.is_file() for path in files)
    files[0].write_text("mine")
    assert runner.invoke(app, ["new", "acme_ads", "--folder", str(folder)]).exit_code != 0
    assert files[0].read_text() == "mine"
