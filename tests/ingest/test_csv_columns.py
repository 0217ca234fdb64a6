"""CSV many lines at a time: the same rows as the csv module's, with the same line numbers."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgdb.errors import UsageError
from imgdb.ingest.tables import csv_columns
from imgdb.ingest.tables.bad_lines import Complaints
from imgdb.ingest.tables.csv_columns import Header


def columns_of(text, width):
    """Return (line, row) of each row, and what is wrong with the others."""
    complaints = Complaints()
    rows = [
        (line, row)
        for lines, columns in csv_columns.chunks(
            io.StringIO(text, newline=""), Header([""] * width, 3), complaints
        )
        for line, row in zip(lines, zip(*columns, strict=True), strict=True)
    ]
    return rows, complaints.told()


def read_by_csv(text, width):
    complaints = Complaints()
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, last = [], 3
    try:
        for row in reader:
            if len(row) == width:
                rows.append((3 + reader.line_num, tuple(row)))
            elif row:
                complaints.add(3 + reader.line_num, f"{len(row)} columns instead of {width}")
            last = 3 + reader.line_num
    except csv.Error as error:
        complaints.add(last + 1, f"no CSV from here on: {error}")
    return rows, complaints.told()


@given(
    text=st.text(st.sampled_from('ab,",\n\r "\n,\0é'))
    | st.lists(st.sampled_from(["a,b", '"a\n,b",c', "", "a", 'a"b,c', '"a""b",'])).map("\r\n".join),
    width=st.integers(2, 3),
    chunk=st.integers(1, 4),
)
@example(text="a,b\nc,d\n", width=2, chunk=2)
@example(text="a,b,\n,c\n", width=2, chunk=2)
@example(text='a,b\n"c\n\n,",d\n\n"', width=2, chunk=1)
def test_every_row_is_that_of_the_csv_module(text, width, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_columns, "LINES", chunk)
        assert columns_of(text, width) == read_by_csv(text, width)


def test_the_header_may_take_several_lines():
    file = io.StringIO('"two\nlines", path \na,b')
    assert csv_columns.header(file) == Header(["two\nlines", "path"], 2)
    assert file.read() == "a,b"


@pytest.mark.parametrize(
    ("line", "delimiter", "names"),
    [
        ("path;phash\n", ";", ["path", "phash"]),
        ("path\tphash\tnote, more\n", "\t", ["path", "phash", "note, more"]),
        ('"a;b",path,phash\n', ",", ["a;b", "path", "phash"]),
        ("path\n", ",", ["path"]),
    ],
)
def test_the_header_shows_what_is_between_columns(line, delimiter, names):
    assert csv_columns.header(io.StringIO(line)) == Header(names, line.count("\n"), delimiter)


@pytest.mark.parametrize("line", ['"path,phash\n/a,1\n', '"path"x,phash\n'])
def test_a_first_line_that_is_no_csv_is_wrong_usage(line):
    with pytest.raises(UsageError, match="the first line is no CSV"):
        csv_columns.header(io.StringIO(line))
