"""`comity node requests`: jobs that wait for their owner's decision."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from comity.cli.node_home import Home, joined
from comity.cli.reporting import reported, tell
from comity.cli.words import AsJson, Debug, group, moment, paragraphs

if TYPE_CHECKING:
    from comity.node.home import NodeHome
    from comity.node.requests import Request, Requests

app = group(
    "Jobs that the policy neither allows nor refuses wait here for you. Look at one, then decide.",
    "Example: [bold]comity node requests show 4be1[/bold]",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="A request's id, or how it begins.", show_default=False)]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="For the record.")]


@app.command(
    "list",
    help=paragraphs(
        "The requests that wait; with --all, those that were decided as well.",
        "Example: [bold]comity node requests list[/bold]",
    ),
)
def list_requests(
    every: Annotated[bool, typer.Option("--all", help="Those that were decided, too.")] = False,
    home: Home = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    with reported(debug):
        requests = _requests(joined(home))
        found = requests.all() if every else requests.pending()
        table = Table(box=SIMPLE_HEAD)
        for heading in ("request", "state", "job", "by", "data set", "code", "since"):
            table.add_column(heading)
        for request in found:
            table.add_row(*map(escape, _row(request)))
        tell(found, table if found else "nothing waits for you", as_json)


@app.command(
    help=paragraphs(
        "Everything to decide upon: who sends the job, what of the policy it meets, what would leave in each round and "
        "who could read it, the source that would run here, file by file, and the manifest.",
        "Example: [bold]comity node requests show 4be1[/bold]",
    )
)
def show(id: Id, home: Home = None, debug: Debug = False) -> None:
    with reported(debug):
        requests = _requests(joined(home))
        typer.echo(_leaving(requests, id))
        typer.echo(requests.show(id))


@app.command(
    help=paragraphs(
        "Let a job run: this job, on the data set that it asked for, with exactly the source that was shown. The node "
        "takes part from its next request for work on.",
        "Example: [bold]comity node requests approve 4be1 --why 'ethics vote 12'[/bold]",
    )
)
def approve(id: Id, why: Why = "", home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        _tell(_requests(joined(home)).approve(id, who=getpass.getuser(), why=why), as_json)


@app.command(
    help=paragraphs(
        "Refuse a job, also one that was approved: what that granted ends with it.",
        "Example: [bold]comity node requests deny 4be1 --why 'too few parties'[/bold]",
    )
)
def deny(id: Id, why: Why = "", home: Home = None, as_json: AsJson = False, debug: Debug = False) -> None:
    with reported(debug):
        _tell(_requests(joined(home)).deny(id, who=getpass.getuser(), why=why), as_json)


def _requests(node: NodeHome) -> Requests:
    from comity.node.requests import Requests

    return Requests(node.path, time.time)


def _leaving(requests: Requests, id: str) -> str:
    """The job's table of what leaves, for a model that is known by its layout; none of the job's code is run for it."""
    from comity.core.errors import ComityError
    from comity.node.requests import visible
    from comity.server.description import described

    try:
        return visible(f"{described(*requests.job(id)).explain()}\nSizes are those that the server has named.\n")
    except (ComityError, OSError, ValueError) as error:
        return visible(f"What leaves cannot be told: {error}\n")


def _row(request: Request) -> tuple[str, ...]:
    code = "none" if request.source is None else f"{request.source[:12]}…"
    since = moment(request.asked)
    return request.id, request.state, f"{request.job[:12]}…", request.submitter, request.dataset, code, since


def _tell(request: Request, as_json: bool) -> None:
    tell(request, f"request {request.id} is [bold]{request.state}[/bold]", as_json)
