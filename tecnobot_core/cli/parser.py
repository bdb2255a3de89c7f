"""What may be written behind ``tecnobot``. Imports nothing but the parser: help is to come at once."""

import argparse

_EXIT = "exit status: 0 %s; 1 %s; 2 it could not be done, and why is said"


def make_parser() -> argparse.ArgumentParser:
    """The parser; ``run`` of what it returns names the module and the function that do what was asked for."""
    parser = argparse.ArgumentParser(prog="tecnobot", description="What surrounds a bot built on tecnobot_core.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    settings = commands.add_parser("settings", help="every variable, its value, default and meaning")
    settings.add_argument("--markdown", action="store_true", help="the page of the documentation, without values")
    settings.set_defaults(run="settings:show")
    version = commands.add_parser("version", help="the version of tecnobot_core")
    version.set_defaults(run="version:show")
    flows = commands.add_parser("flows", help="check, import, export and compare flows in files")
    _add_flows(flows.add_subparsers(required=True, metavar="COMMAND"))
    forms = commands.add_parser("forms", help="what people entered into forms: list, export, delete")
    _add_forms(forms.add_subparsers(required=True, metavar="COMMAND"))
    whatsapp = commands.add_parser("whatsapp", help="join a WhatsApp account, look after its session, leave it")
    _add_whatsapp(whatsapp.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _add_flows(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = _command(commands, "check", "tell what is wrong with files of flows", "nothing is wrong", "something is")
    _add_files(check)
    check.add_argument("--strict", action="store_true", help="warnings count as well")
    check.add_argument("--json", action="store_true", help="print the problems as a JSON list, for programs")
    check.set_defaults(run="flows_check:check")

    importing = _command(
        commands, "import", "put the flows of files into the database", "all are in", "the files are wrong, none is in"
    )
    _add_chatbot(importing)
    _add_files(importing)
    importing.add_argument("--dry-run", action="store_true", help="only say what would change")
    importing.add_argument(
        "--remove-others", action="store_true", help="remove the flows that are in none of the files"
    )
    importing.set_defaults(run="flows_database:put")

    exporting = _command(
        commands, "export", "write the flows of the database to a file", "all are written", "some are broken"
    )
    _add_chatbot(exporting)
    exporting.add_argument("--format", choices=("yaml", "json"), help="by default what the name of the file says")
    exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="- or nothing: the standard output")
    exporting.set_defaults(run="flows_database:export")

    diff = _command(commands, "diff", "say what an import would change", "nothing", "something")
    _add_chatbot(diff)
    _add_files(diff)
    diff.set_defaults(run="flows_database:diff")

    schema = commands.add_parser("schema", help="print the JSON Schema of a file of flows")
    schema.set_defaults(run="flows_schema:show")


def _add_forms(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = commands.add_parser("list", help="name the forms that have records")
    _add_chatbot(listing)
    listing.set_defaults(run="forms:show")

    exporting = commands.add_parser("export", help="write the records of a form as CSV")
    _add_chatbot(exporting)
    exporting.add_argument("--spreadsheet", action="store_true", help="begin the file as spreadsheet programs like it")
    exporting.add_argument("form", metavar="FORM")
    exporting.add_argument("file", nargs="?", default="-", metavar="FILE", help="- or nothing: the standard output")
    exporting.set_defaults(run="forms:export")

    deleting = commands.add_parser("delete", help="delete the old records of a form")
    _add_chatbot(deleting)
    deleting.add_argument("--before", required=True, metavar="DAY", help="those that were submitted before, 2026-12-31")
    deleting.add_argument("form", metavar="FORM")
    deleting.set_defaults(run="forms:delete")


def _add_whatsapp(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pairing = _command(
        commands, "pair", "join an account, by a QR code or a code for a number", "it is joined", "it was already"
    )
    _add_copies(pairing)
    pairing.add_argument("--code", metavar="NUMBER", help="show a code to enter on the phone of this number instead")
    pairing.set_defaults(run="whatsapp:pair")

    status = _command(commands, "status", "what there is of a session, without connecting", "all is well", "it is not")
    _add_copies(status)
    status.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    status.set_defaults(run="whatsapp_session:status")

    logout = _command(commands, "logout", "leave the account for good", "it is left", "there was none to leave")
    _add_copies(logout)
    logout.add_argument("--yes", action="store_true", help="do not ask")
    logout.set_defaults(run="whatsapp:log_out")

    backup = _command(
        commands,
        "backup",
        "write a verified copy of the session, also while the bot runs",
        "it is written",
        "there is none",
    )
    backup.add_argument("--force", action="store_true", help="replace the file if there is one")
    backup.add_argument("file", metavar="FILE", help="holds the keys of the account: keep it as such")
    backup.set_defaults(run="whatsapp_session:backup")

    restore = _command(
        commands,
        "restore",
        "put a copy in the place of the session",
        "it is in place",
        "there is no copy that is whole",
    )
    _add_copies(restore)
    restore.add_argument("file", metavar="FILE", help="a file of backup, or latest: the newest of the bot's own copies")
    restore.set_defaults(run="whatsapp_session:restore")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, help: str, good: str, bad: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=help, description=help, epilog=_EXIT % (good, bad))


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="PATH", help="files, or folders of *.yaml, *.yml and *.json")


def _add_chatbot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chatbot", required=True, metavar="ID", help="the chatbot that they belong to")


def _add_copies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chatbot", metavar="ID", help="whose copies in the database of DATABASE_URL; needed where there are several"
    )
