"""Any sequence of writes, rollbacks, tracking, compacting and rebuilding leaves searches exact."""

import brute_force
import hypothesis
import pytest
from hash_sets import CORNERS, any_hash, near, some_radius
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from spaces import INSERT, Space

# A small stock, so that hashes come again, are near each other and share buckets.
stock = st.sampled_from([*CORNERS, 0x55, 0x57, 0x5F, -0x56]) | near(st.just(0), 3)
some_hashes = st.lists(stock | any_hash, max_size=8)
places = st.integers(0, 30)
MASKS = (
    [-6196859625921293056, 47851111124172885, 6125082411626703360, 23926103170416810],
    [-(2**63), *(0xFFF << 12 * band for band in range(5)), 0x7 << 60],
)


class SearchMachine(RuleBasedStateMachine):
    """Drive a space and a model of it: the rows of the table, and what may be found besides.

    `rows` is id to hash; `indexed` holds every hash that may be in the space still. Savepoints
    keep copies of both, which a rollback puts back.
    """

    space: Space

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, int | None] = {}
        self.indexed: set[int] = set()
        self.next_id = 1
        self.tracked = True
        self.saved: list[tuple[dict[int, int | None], set[int], bool]] = []
        self.space.clear()
        self.conn = self.space.conn

    def teardown(self) -> None:
        while self.saved:
            self.undo()
        if not self.tracked:
            self.track()
        self.conn.execute("ALTER SEQUENCE hashes_id_seq RESTART")

    # -- the model --------------------------------------------------------------------------------

    @property
    def held(self) -> set[int]:
        return (
            {value for value in self.rows.values() if value is not None} if self.tracked else set()
        )

    def add(self, hashes) -> None:
        for value in hashes:
            self.rows[self.next_id] = value
            self.next_id += 1
        if self.tracked:
            self.indexed |= {value for value in hashes if value is not None}

    def chosen(self, place: int) -> list[int]:
        return [row for row in self.rows if row % 5 == place % 5]

    # -- writing ----------------------------------------------------------------------------------

    @rule(hashes=some_hashes)
    def insert(self, hashes):
        self.conn.execute(INSERT, [hashes])
        self.add(hashes)

    @rule(hashes=st.lists(st.none() | stock, max_size=5))
    def copy(self, hashes):
        self.space.copy("\\N" if value is None else value for value in hashes)
        self.add(hashes)

    @rule(place=places, value=stock)
    def update(self, place, value):
        chosen = self.chosen(place)
        self.conn.execute("UPDATE hashes SET hash = %s WHERE id = ANY (%s)", [value, chosen])
        self.rows |= dict.fromkeys(chosen, value)
        if self.tracked and chosen:
            self.indexed.add(value)

    @rule(place=places)
    def exchange(self, place):
        """Each of some rows takes the hash of the next: nothing new comes."""
        chosen = self.chosen(place)
        values = [self.rows[row] for row in chosen]
        turned = dict(zip(chosen, values[1:] + values[:1], strict=True))
        self.conn.execute(
            "UPDATE hashes SET hash = v.hash FROM unnest(%s::bigint[], %s::bigint[])"
            " AS v (id, hash) WHERE v.id = hashes.id",
            [list(turned), list(turned.values())],
        )
        self.rows |= turned

    @rule(place=places)
    def touch(self, place):
        self.conn.execute("UPDATE hashes SET note = 'x' WHERE id = ANY (%s)", [self.chosen(place)])

    @rule(place=places)
    def delete(self, place):
        chosen = self.chosen(place)
        self.conn.execute("DELETE FROM hashes WHERE id = ANY (%s)", [chosen])
        for row in chosen:
            del self.rows[row]

    @rule()
    def truncate(self):
        self.conn.execute("TRUNCATE hashes")
        self.rows = {}

    # -- transactions -----------------------------------------------------------------------------

    @precondition(lambda self: len(self.saved) < 3)
    @rule()
    def save(self):
        self.conn.execute(f"SAVEPOINT s{len(self.saved)}" if self.saved else "BEGIN")
        self.saved.append((dict(self.rows), set(self.indexed), self.tracked))

    @precondition(lambda self: self.saved)
    @rule()
    def keep(self):
        self.saved.pop()
        self.conn.execute(f"RELEASE s{len(self.saved)}" if self.saved else "COMMIT")

    @precondition(lambda self: self.saved)
    @rule()
    def undo(self):
        self.rows, self.indexed, self.tracked = self.saved.pop()
        self.conn.execute(f"ROLLBACK TO s{len(self.saved)}" if self.saved else "ROLLBACK")
        if self.saved:
            self.conn.execute(f"RELEASE s{len(self.saved)}")

    # -- looking after ----------------------------------------------------------------------------

    @precondition(lambda self: self.tracked)
    @rule()
    def untrack(self):
        self.conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
        self.tracked = False

    @precondition(lambda self: not self.tracked)
    @rule()
    def track(self):
        self.conn.execute("SELECT imgdb.track('hashes', 'hash', %s)", [self.space.name])
        self.tracked = True
        self.indexed |= self.held

    @precondition(lambda self: not self.saved)
    @rule()
    def compact(self):
        self.space.compact()

    @rule()
    def drop_stale(self):
        self.space.drop_stale()
        # What is fresh stays.
        fresh = self.conn.execute(
            "SELECT DISTINCT unnest(hashes) FROM imgdb.fresh_hashes WHERE space_id = %s",
            [self.space.space_id],
        )
        self.indexed = self.held | (self.indexed & {value for (value,) in fresh})

    @rule(most=st.integers(0, 3))
    def flush(self, most):
        self.space.flush(200 * most)

    @rule()
    def compact_half(self):
        self.space.compact_half()

    @rule()
    def look_up(self):
        self.space.look_up()

    @precondition(lambda self: not self.saved)
    @rule()
    def rebuild(self):
        self.space.rebuild()
        self.indexed = self.held

    @precondition(lambda self: not self.saved)
    @rule(masks=st.sampled_from(MASKS))
    def change_masks(self, masks):
        self.space.use_masks(masks)
        self.indexed = self.held

    @precondition(lambda self: self.tracked)
    @rule(hashes=some_hashes)
    def catch_up(self, hashes):
        """Rows that came while the triggers were off are indexed later."""
        self.conn.execute("ALTER TABLE hashes DISABLE TRIGGER USER")
        self.conn.execute(INSERT, [hashes])
        self.space.value("SELECT imgdb.catch_up('hashes')")
        self.add(hashes)

    # -- asking -----------------------------------------------------------------------------------

    @rule(query=stock | any_hash, radius=some_radius)
    def search(self, query, radius):
        must, may = (
            brute_force.within(brute_force.signed(list(hashes)), query, radius).items()
            for hashes in (self.held, self.indexed)
        )
        for found in (self.space.within(query, radius), self.space.scan(query, radius)):
            assert must <= found.items() <= may
        assert self.space.within_any([query], radius).get(query, {}).items() == may
        # What no row holds takes nobody's place.
        assert self.space.nearest(query, 3, radius) == brute_force.nearest(
            brute_force.signed(list(self.held)), query, 3, radius
        )

    @invariant()
    def every_tracked_hash_is_indexed(self):
        assert self.space.missing() == 0


@pytest.mark.slow
def test_machine(space: Space) -> None:
    class Machine(SearchMachine):
        pass

    Machine.space = space
    settings = hypothesis.settings(stateful_step_count=25)
    hypothesis.stateful.run_state_machine_as_test(Machine, settings=settings)
