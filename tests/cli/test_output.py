"""What commands print: whole and valid whatever a value holds."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from imgdb.cli.output import Format, default_format, print_rows
from imgdb.words import printable

HOSTILE = [
    'quote " comma , semicolon ;',
    "newline \n tab \t return \r",
    "[bold]brackets[/bold]",
    "escape \x1b[31m right-to-left \u202e \u2066 \u200f",
    "undecodable \udcff",
    "x" * 500,
    "日本語 🖼️",
    "",
]
COLUMNS = ("path", "distance")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(rows, columns, format):
    file = io.StringIO()
    print_rows(rows, columns, format, file)
    return file.getvalue()


def test_json_is_a_list_of_objects_with_the_columns_as_keys():
    rows = [(name, number) for number, name in enumerate(HOSTILE)]
    text = printed(rows, COLUMNS, Format.json)
    assert json.loads(text) == [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert text.isascii()


def test_csv_reads_back():
    rows = [(name, number) for number, name in enumerate(HOSTILE) if "\udcff" not in name]
    text = printed(rows, COLUMNS, Format.csv)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read[0] == list(COLUMNS)
    assert read[1:] == [[name, str(number)] for name, number in rows]


def test_no_cell_is_a_formula_to_a_spreadsheet():
    """A query file may have any name: =HYPERLINK("http://...") would be a link that sends data."""
    names = ['=HYPERLINK("x").jpg', "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "\t=1.jpg", "\r=1.jpg"]
    text = printed([(name, -5) for name in names], COLUMNS, Format.csv)
    rows = [*csv.reader(io.StringIO(text, newline=""))]
    assert rows[1:] == [[f"'{name}", "-5"] for name in names]
    # What is no formula stays as it is, also the name of stdin.
    plain = ["-", "a=b.jpg", "/=.jpg", ""]
    text = printed([(name, 1) for name in plain], COLUMNS, Format.csv)
    assert [row[0] for row in csv.reader(io.StringIO(text))][1:] == plain


def test_csv_escapes_what_the_file_cannot_encode():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    print_rows([("é\udcff",)], ("path",), Format.csv, file)
    file.seek(0)
    assert file.read() == "path\n\\xe9\\udcff\n"


def test_table_keeps_each_row_readable():
    text = printed([(name, 1) for name in HOSTILE], COLUMNS, Format.table)
    assert "[bold]brackets[/bold]" in text
    assert "\\x1b[31m" in text
    assert not set("\x1b\t\r\u200f\u202e\u2066\udcff") & set(text)
    assert text.replace("\n", "").count("x") >= 500


def test_table_of_nothing_is_nothing():
    assert printed([], COLUMNS, Format.table) == ""
    assert json.loads(printed([], COLUMNS, Format.json)) == []
    assert printed([], COLUMNS, Format.csv) == "path,distance\n"


def test_values_of_other_types():
    row = (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), b"\x00\xff", None, True, -(1 << 63), 0.5)
    columns = ("modified_at", "sha256", "width", "flat", "phash", "share")
    assert json.loads(printed([row], columns, Format.json)) == [
        dict(zip(columns, ("2024-02-29T12:30:00+00:00", "00ff", *row[2:]), strict=True))
    ]
    assert printed([row], columns, Format.csv).splitlines()[1] == (
        "2024-02-29T12:30:00+00:00,00ff,,true,-9223372036854775808,0.5"
    )
    assert "2024-02-29 12:30" in printed([row], columns, Format.table)


@pytest.mark.parametrize(("file", "format"), [(Terminal(), "table"), (io.StringIO(), "lines")])
def test_default_is_a_table_on_a_terminal_and_lines_elsewhere(file, format):
    assert default_format(file) == format


def test_printable_leaves_ordinary_text_alone():
    assert printable("a b é 日本 🏳️‍🌈") == "a b é 日本 🏳️‍🌈"
    assert printable("a\nb\u2028c") == "a\\nb\\u2028c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photos/2024/lake.jpg", "photos/2024/lake.jpg"),
        ("photos/2024/summer/lake.jpg", "photos/202…/lake.jpg"),
        ("photos/2024/a-long-name-of-a-file.jpg", "photos…of-a-file.jpg"),
        ("写真/二〇二四年/夏休み/湖と山.jpg", "写真/二…/湖と山.jpg"),
    ],
)
def test_the_middle_of_a_long_cell_is_left_out(monkeypatch, text, shown):
    monkeypatch.setenv("COLUMNS", "80")
    file = io.StringIO()
    print_rows([(text, "x" * 58)], ("path", "rest"), Format.table, file, paths="path")
    assert file.getvalue().splitlines()[1].split()[0] == text  # without links all is shown
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    print_rows([(text, "x" * 58)], ("path", "rest"), Format.table, file, paths="path")
    assert file.getvalue().splitlines()[1].split()[0] == shown
