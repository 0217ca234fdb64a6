"""What is calibrated: the rules by which images are compared, and up to which distance."""

from __future__ import annotations

from imgdb.hashes.values import PDQ_RULES, USUAL_RULE, rule_hashes

# The usual rule as `imgdb query` asks by it: for the picture, and for what is within its borders.
TRIMMED = "trimmed"

# In the order in which people should think of them.
RULES = (USUAL_RULE, TRIMMED, "phash", "dhash", "whash", "ahash", *PDQ_RULES)

# Up to here a search is quick in a collection of any size (the radii with prepared probes).
_SEARCHED = 12


def hashes_of(rule: str) -> tuple[str, ...]:
    """Return the hashes that an image needs to be compared by a rule; pdq stands for PDQ's."""
    if rule in PDQ_RULES:
        return tuple(rule.split("-"))
    return tuple(rule_hashes(USUAL_RULE if rule == TRIMMED else rule))


def largest(rule: str) -> int:
    """Return the largest distance that is looked at.

    Unlike pictures are 32 apart on average by a hash, 64 by a sum, 128 by PDQ.
    """
    return 96 if rule in PDQ_RULES else 32


def searched(rule: str) -> int:
    """Return the largest distance by a rule up to which a search is quick."""
    if rule in PDQ_RULES:
        # Candidates are those of phash, whatever distance decides.
        return largest(rule) if rule == "phash-pdq" else PDQ_RULES[rule]
    hashes = len(hashes_of(rule))
    return _SEARCHED * hashes + hashes - 1


def has_default(rule: str) -> bool:
    """Tell whether the database has a default for a rule."""
    return rule != TRIMMED and rule not in PDQ_RULES
