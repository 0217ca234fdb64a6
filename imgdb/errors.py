"""One tree of errors: every failure that imgdb reports is an ImgdbError, and says what to do."""


class ImgdbError(Exception):
    """What happened and what to do about it, in one line for a person."""

    exit_code = 1


class UsageError(ImgdbError):
    """The call cannot be carried out as it was written: an option, an argument, a name."""

    exit_code = 2


class PictureError(ImgdbError):
    """A file that cannot be hashed.

    `reason` is one word of `pictures.reasons.REASONS`, stored in `imgdb.ingest_failure`; `detail`
    says it for this file.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["PictureError"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class EmbeddedServerError(ImgdbError):
    """The embedded PostgreSQL server cannot be found, made, started or stopped."""


class DatabaseFailure(ImgdbError):
    """PostgreSQL refused or could not be reached."""


class ConnectionFailed(DatabaseFailure):
    """No connection: nobody answers, or user, password or database are refused."""


class SchemaMismatch(DatabaseFailure):
    """The database has no imgdb schema, or one of another revision than this package needs."""


class NotOwner(DatabaseFailure):
    """A space or a table that belongs to another role, whose rights the user has not."""


class UnknownName(DatabaseFailure, UsageError):
    """A space, a collection or an image that the database does not know."""

    exit_code = 2
