"""PostgreSQL's errors in imgdb's words: SQLSTATE or constraint name to a class of `errors`."""

from __future__ import annotations

import re

import psycopg

from imgdb.errors import (
    ConnectionFailed,
    DatabaseFailure,
    ImgdbError,
    NotOwner,
    SchemaMismatch,
    UnknownName,
    UsageError,
)

# Class IM: raised by imgdb's own SQL functions, with a message that is whole already.
RAISED_BY_IMGDB: dict[str, type[ImgdbError]] = {
    "IM001": UnknownName,  # unknown space
    "IM002": UsageError,  # distance out of 0 to 64
    "IM003": UsageError,  # bad hex
    "IM004": UsageError,  # no such column, or not bigint
    "IM005": DatabaseFailure,  # already tracked
    "IM006": UsageError,  # band masks that do not split 64 bits
    "IM007": DatabaseFailure,  # space still in use
    "IM008": DatabaseFailure,  # space exists
    "IM009": UnknownName,  # not tracked
    "IM010": UsageError,  # kind of relation not supported
    "IM011": UnknownName,  # unknown collection
    "IM012": UsageError,  # bad argument
    "IM013": NotOwner,  # belongs to another role
    "IM020": SchemaMismatch,  # a schema that imgdb must not be installed in
    "IM021": UsageError,  # a decision about an image that is to be removed already
}

# Constraint name to what it means for a person.
BROKEN_RULES = {
    "archive_collection_id_fkey": "the collection is not there, or lists archives still",
    "collection_name_check": "a collection needs a name",
    "collection_name_key": "there is a collection of that name already",
    "image_collection_id_fkey": "the collection is not there, or holds images still",
    "image_collection_id_path_key": "the collection has that path already",
    "image_colours_check": "colours are 27 bytes, measured from a file",
    "image_file_check": "what a file says of an image is given as a whole or not at all",
    "decision_beside_id_fkey": "there is no such image",
    "decision_image_id_fkey": "there is no such image",
    "decision_image_id_key": "something was decided about the image already",
    "decision_pair_check": "a decision is about two different images",
    "decision_verdict_check": "a verdict is remove, keep, different or skip",
    "image_path_check": "an image needs a path",
    "image_pdq_image_id_fkey": "there is no such image",
    "image_region_box_check": "a region lies inside of its image and has an area",
    "image_region_image_id_fkey": "there is no such image",
    "image_pdq_quality_check": "the quality of a PDQ hash is 0 to 100",
    "image_region_recipe_check": "regions are of an image whose file was read",
    "image_sha256_check": "a SHA-256 has 32 bytes",
    "image_size_check": "width, height and frames of an image are at least 1, its size at least 0",
    "collection_rule_collection_id_fkey": "there is no such collection",
    "collection_rule_default_max_distance_check": "a distance is between 0 and 128",
    "collection_rule_rule_name_check": "a rule needs a name",
    "rule_default_max_distance_check": "a sum of two distances is between 0 and 128",
    "rule_name_check": "a rule needs a name",
    "fresh_hashes_hashes_check": "a row of fresh hashes holds 1 to 200 of them",
    "ingest_failure_collection_id_fkey": "the collection is not there, or lists failures still",
    "match_watch_id_fkey": "there is no such entry on the watch list",
    "not_duplicate_image_id_a_fkey": "there is no such image",
    "not_duplicate_image_id_b_fkey": "there is no such image",
    "not_duplicate_order_check": "a pair is two different images, the smaller image_id first",
    "prefix_bucket_hashes_check": "a bucket row holds 1 to 200 hashes",
    "probe_space_id_fkey": "there is no such space",
    "space_default_max_distance_check": "a distance is between 0 and 64",
    "space_masks_split_check": "3 to 16 band masks of 1 to 22 bits split all 64, without overlap",
    "space_shadow_of_fkey": "there is no such space",
    "space_shadow_of_key": "the space is being rebuilt already",
    "space_name_check": "a space needs a name",
    "space_name_key": "there is a space of that name already",
    "tracked_column_space_id_fkey": "the space is not there, or columns are tracked into it still",
    "tracked_column_track_key_key": "two tracked columns never share a key",
    "watch_list_label_check": "a label has at most 200 characters",
    "watch_list_radius_check": "a watched distance is between 0 and 12",
    "watch_list_space_id_fkey": "there is no such space",
    "watch_probe_space_id_fkey": "there is no such space",
}

_OTHER_SCHEMA = "the schema is not the one this imgdb made; see `imgdb db current`"
_NOT_OURS = "something else made it in schema imgdb before"

# SQLSTATE, or its first two characters, to what a person can do about it.
ADVICE = {
    "22P05": "the database's encoding cannot hold it; imgdb needs a database of encoding UTF8",
    "25006": "the database takes no writes (a standby, or default_transaction_read_only)",
    "2BP01": "drop or change first what depends on it",
    "40": "another transaction was in the way; run the same command again",
    "42501": "rights in schema imgdb are given by its owner: `imgdb db grant ROLE --read` (or "
    "--write, --keep); others by the owner of the database: to install, `GRANT CREATE ON DATABASE "
    "... TO ROLE`",
    "42704": _OTHER_SCHEMA,
    "42883": _OTHER_SCHEMA,
    "42723": _NOT_OURS,
    "42P07": _NOT_OURS,
    "42P01": _OTHER_SCHEMA,
    "53100": "free disk space on the database server, then run the same command again; "
    "what was committed is kept",
    "53200": "the database server is out of memory",
    "53300": "try again later, or raise max_connections",
    "55P03": "another session holds a lock; try again",
    "57014": "raise statement_timeout, or ask for less",
    "58": "look at the database server's disk and log",
    "XX": "look at the database server's log",
}

CONNECTION_LOST = ("08", "57P")


def translate(error: BaseException) -> ImgdbError:
    """Return the ImgdbError that says in one line what a psycopg error means."""
    if isinstance(error, ImgdbError):
        return error
    if not isinstance(error, psycopg.Error):
        return DatabaseFailure(f"{type(error).__name__}: {error}")
    state = error.sqlstate
    if state is None:
        return _without_sqlstate(error)
    message = _message(error)
    if state in RAISED_BY_IMGDB:
        return RAISED_BY_IMGDB[state](message)
    if state.startswith(CONNECTION_LOST):
        return _lost(message)
    if error.diag.constraint_name in BROKEN_RULES:
        return DatabaseFailure(BROKEN_RULES[error.diag.constraint_name])
    advice = ADVICE.get(state) or ADVICE.get(state[:2])
    kind = SchemaMismatch if advice == _OTHER_SCHEMA else DatabaseFailure
    return kind(f"{message}; {advice}" if advice else f"{message} (SQLSTATE {state})")


def connection_failed(error: psycopg.Error, source: str) -> ConnectionFailed:
    """Return the one line for a connection that did not come about.

    `source` says who named the server. The connection string itself is never repeated: it may hold
    a password.
    """
    text = str(error)
    if isinstance(error, psycopg.ProgrammingError):
        return ConnectionFailed(
            f"the connection string ({source}) cannot be read: give "
            "postgresql://USER@HOST/DATABASE or 'host=... dbname=... user=...'"
        )
    # The first line is the last attempt; the others repeat it for each address of the host.
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    reason = re.sub(r"^connection (failed|is bad): ", "", first).replace("FATAL:  ", "")
    advice = next((say for words, say in CONNECT_ADVICE if re.search(words, text)), None)
    return ConnectionFailed(
        "; ".join(filter(None, [f"cannot connect ({source}): {reason}", advice]))
    )


# The server sends these as text only, in its own language: without a hit the reason stands alone.
CONNECT_ADVICE = (
    ("password|fe_sendauth", "check the user and the password (connection string, PGPASSWORD, "
     "~/.pgpass)"),
    ("resolve host|translate host|not known", "check the name of the host"),
    ("refused|No such file", "is the server running there?"),
    ("timeout|timed out", "nobody answers there; check host and port"),
    ("database .* does not exist", "make it first, for example with `createdb`"),
    ("pg_hba.conf", "the server does not admit this user from this machine"),
    ("too many clients|connection slots", "try again later, or raise max_connections"),
    ("starting up|shutting down|recovery", "try again in a moment"),
)  # fmt: skip


def _message(error: psycopg.Error) -> str:
    diag, state = error.diag, error.sqlstate or ""
    parts = [diag.message_primary or str(error)]
    # The detail of a broken dependency lists who depends; elsewhere it may quote a whole row.
    parts += [diag.message_detail or ""] if state == "2BP01" else []
    # PostgreSQL's own hints are for those who write SQL; imgdb's functions say what to do.
    parts += [diag.message_hint or ""] if state.startswith("IM") else []
    return "; ".join(" ".join(part.split()).rstrip(".") for part in parts if part)


def _without_sqlstate(error: psycopg.Error) -> ImgdbError:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.OperationalError):
        return _lost(text)
    return DatabaseFailure(f"the database driver reports {type(error).__name__}: {text}")


def _lost(reason: str) -> ConnectionFailed:
    return ConnectionFailed(
        f"the connection to the database was lost: {reason}; what was committed is kept, "
        "run the same command again"
    )
