"""`liftos down`."""

from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, stack_errors
from liftos_cli.options import JsonOption
from liftos_cli.output import print_json, say
from liftos_local import stack

app = command_app()


@app.command(epilog="Example: liftos down")
def down(*, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Stop what `liftos up` started. The data stays."""
    directory = chosen_data_dir(data_dir)
    with stack_errors():
        was_running = stack.down(directory)
    if json:
        print_json({"data_dir": str(directory), "was_running": was_running})
        return
    say(
        f"Stopped; the data stays in {directory}."
        if was_running
        else f"Nothing runs in {directory}."
    )
