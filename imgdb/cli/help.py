"""How `--help` is laid out: commands under headings, arguments without Python's names of types."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from imgdb.cli.coercion import read_plainly


class Command(TyperCommand):
    """A command that shows its arguments by their names, and reads plain values on its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; that of --help is among them."""
        return read_plainly(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, without the braces that some typers put there."""
        return [
            piece.strip("{}").replace("}...", "...") for piece in super().collect_usage_pieces(ctx)
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        params = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        shown = [(param, record) for param, record in params if record]
        for kind in ("argument", "option"):
            rows = [
                (param.metavar or record[0] if kind == "argument" else record[0], record[1])
                for param, record in shown
                if param.param_type_name == kind
            ]
            if rows:
                with formatter.section(f"{kind.title()}s"):
                    formatter.write_dl(rows)


class CommandGroup(TyperGroup):
    """A group that shows its commands under the headings that they were registered with."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; that of --help is among them."""
        return read_plainly(super().get_params(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, in the same columns below all headings."""
        visible = {name: made for name, made in self.commands.items() if not made.hidden}
        widest = max(map(len, visible))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, made in visible.items():
            summary = made.get_short_help_str(formatter.width - 6 - widest)
            # typer knows headings, but lays them out with rich only, which is slow to load.
            heading = getattr(made, "rich_help_panel", None)
            heading = heading if isinstance(heading, str) else "Commands"
            sections.setdefault(heading, []).append((name.ljust(widest), summary))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
