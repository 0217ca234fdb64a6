"""sql/README.md names what is there, and nothing that is not."""

import re
from pathlib import Path

SQL = Path(__file__).parents[2] / "sql"
MAP = (SQL / "README.md").read_text("utf-8")
NAMED = set(re.findall(r"`([\w/.]+)`", MAP))

PUBLIC = (
    "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace AND proname !~ '^_'"
    " UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'imgdb'::regnamespace"
    " AND relkind IN ('r', 'p', 'v') AND relname <> 'alembic_version'"
)


def test_every_folder_and_public_object_is_on_the_map(conn):
    folders = {path.name for path in SQL.iterdir() if path.is_dir()}
    files = {name for name in NAMED if "/" in name}
    public = {name for (name,) in conn.execute(PUBLIC)}
    assert NAMED - files - {"imgdb", "_name", "_"} == folders | public
    assert len(files) == 11
    assert all((SQL / file).is_file() for file in files)


def test_a_function_is_listed_with_the_folder_that_makes_it():
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| `(\d\d_\w+)` \|$", MAP, re.M)
    assert len(rows) == 10
    for names, folder in rows:
        text = "".join(file.read_text("utf-8") for file in (SQL / folder).glob("*.sql"))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^CREATE (FUNCTION|PROCEDURE) imgdb\.{name}\(", text, re.M), name


def test_comments_name_objects_and_no_files():
    """A file is renumbered, and the comment is wrong."""
    for file in SQL.glob("*/*.sql"):
        assert not re.search(r"\b\d\d_\w+|\.sql\b", file.read_text("utf-8")), file
