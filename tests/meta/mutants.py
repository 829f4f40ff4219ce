"""Small, named bugs that the suite must catch: each a change of one line or so of the real source.

The text that a mutant replaces must occur exactly once in its module, so that it can't drift from the code.
"""

from dataclasses import dataclass

__all__ = ["LISTED", "MUTANTS", "OWN", "Mutant"]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One planted bug. `killers` are pytest arguments, of which at least one test must fail under it.

    `listed`: its number in the list of bugs that the design names; None for one of our own. `private`: nothing
    is wrong with what the protocol opens, so only privacy checks can see it.
    """

    name: str
    module: str
    old: str
    new: str
    killers: tuple[str, ...]
    listed: int | None = None
    private: bool = False


_SECRETS = "protocols/secret_source.py"
_VERIFIED = "protocols/secure_sum/_verified_plan.py"
_BULLETIN = "protocols/secure_sum/_bulletin.py"
_SHAMIR = "protocols/secure_sum/shamir.py"
_BEACON = "protocols/beacons/shared.py"
_BEACONS = ("tests/properties/test_beacons.py",)
_COMPRESSING = ("tests/units/test_compressing.py",)
_DEALING = ("tests/properties/test_verified_dealing.py",)
_RESHARING = "protocols/hidden_sums/_resharing.py"
_CHECKING = "protocols/hidden_sums/_range.py"
_CHECKED = ("tests/properties/test_hidden_range.py", "-k", "TestExactPrivacy or named")

LISTED: tuple[Mutant, ...] = (
    Mutant(
        name="share randomness of only 16 bits",
        listed=1,
        private=True,
        module=_SECRETS,
        old="        elements, accepted = field.from_uniform_words(words)\n",
        new="        elements, accepted = field.from_uniform_words(words & 0xFFFF)\n",
        killers=("tests/units/test_secret_source.py",),
    ),
    Mutant(
        name="the same share randomness for all coordinates",
        listed=2,
        private=True,
        module=_SECRETS,
        old="            return elements[:, :count].contiguous()\n",
        new="            return elements[:, :1].repeat(1, count)\n",
        killers=("tests/units/test_secret_source.py",),
    ),
    Mutant(
        name="the smaller of two draws",
        listed=3,
        private=True,
        module=_SECRETS,
        old="        if bool(accepted[:, :count].all()):\n",
        new="        elements = torch.minimum(elements, elements.flip(1))\n"
        "        if bool(accepted[:, :count].all()):\n",
        killers=("tests/units/test_secret_source.py",),
    ),
    Mutant(
        name="the decoder ignores the sign",
        listed=4,
        module="protocols/ring.py",
        old="        return words.to(torch.float64) * self.unit\n",
        new="        return words.abs().to(torch.float64) * self.unit\n",
        killers=("tests/units/test_ring.py",),
    ),
    Mutant(
        name="a polynomial of too low a degree",
        listed=5,
        private=True,
        module=_SHAMIR,
        old="degree=self.conditions.threshold_at(parties))",
        new="degree=self.conditions.threshold_at(parties) - 1)",
        killers=("tests/properties/test_invariants.py", "-k", "I12 and (shamir or authenticated)"),
    ),
    Mutant(
        name="evaluation point 0 handed to a party",
        listed=7,
        private=True,
        module="protocols/secure_sum/_sharing.py",
        old="        return evaluate(self.field, basis, [position + 1 for position in positions])\n",
        new="        rows = [evaluate(self.field, basis, [p])[0] if p else basis[0] for p in positions]\n"
        "        return torch.stack(rows)\n",
        killers=("tests/properties/test_invariants.py", "-k", "I12 and (shamir or authenticated)"),
    ),
    Mutant(
        name="a wrong mask sign for one pair",
        listed=9,
        module="protocols/zero_sharing.py",
        old="in pairs.items() if peer < self._rank]\n",
        new="in pairs.items() if peer < self._rank]\n"
        "        if self._rank == 1:\n"
        "            added, subtracted = [*added, *subtracted[:1]], subtracted[1:]\n",
        killers=("tests/properties/test_secure_sum.py", "-k", "python_integers"),
    ),
    Mutant(
        name="masks of dropped members not removed",
        listed=10,
        module="protocols/secure_sum/_masked_server.py",
        old="            total.sub_(mask, alpha=pair_sign(peer, rank))\n",
        new="            total.sub_(mask, alpha=0)\n",
        killers=("tests/properties/test_masked.py", "-k", "drop or crash or survivor"),
    ),
    Mutant(
        name="divide by all members, not by the survivors",
        listed=11,
        module="bench/opening.py",
        old="        contributors=[found.results[j].contributors for j in there],\n",
        new="        contributors=[clustering.clusters[j] for j in there],\n",
        killers=("tests/units/test_round.py",),
    ),
    Mutant(
        name="a small last cluster is allowed",
        listed=13,
        module="protocols/types.py",
        old="    m = n // cluster_size\n    return tuple(n // m + (1 if j < n % m else 0) for j in range(m))\n",
        new="    m = -(-n // cluster_size)\n"
        "    return tuple(min(cluster_size, n - j * cluster_size) for j in range(m))\n",
        killers=("tests/units/test_types.py",),
    ),
    Mutant(
        name="a naive, biased shuffle",
        listed=15,
        private=True,
        module="protocols/clustering/random.py",
        old='        order = [int(process) for process in public_stream(seed, "clustering", period).permutation(n)]\n',
        new='        rng, order = public_stream(seed, "clustering", period), list(range(n))\n'
        "        for i, j in enumerate(rng.integers(n, size=n)):\n"
        "            order[i], order[j] = order[j], order[i]\n",
        killers=("tests/properties/test_clustering.py",),
    ),
    Mutant(
        name="the outer mean instead of the robust rule",
        listed=18,
        module="protocols/aggregators/median.py",
        old="    return in_order(points.means, middle)\n",
        new="    return points.means.double().mean(dim=1)\n",
        killers=("tests/properties/test_aggregators.py", "-k", "median"),
    ),
    Mutant(
        name="noise scaled for all members, not for those who surely add theirs",
        listed=19,
        private=True,
        module="protocols/privacy/distributed.py",
        old="        return max(1, cluster_size - self.non_adders)\n",
        new="        return max(1, cluster_size)\n",
        killers=("tests/properties/test_privacy.py",),
    ),
    Mutant(
        name="the MAC check skips the last coordinate",
        listed=21,
        module=_VERIFIED,
        old="        combined = torch.stack([field.combine(each, words) for each in coefficients], dim=-1)\n",
        new="        combined = torch.stack([field.combine(e[:-1], words[..., :-1]) for e in coefficients], dim=-1)\n",
        killers=_DEALING,
    ),
    Mutant(
        name="a sum is revealed although dropouts left one honest contributor",
        listed=27,
        module=_SHAMIR,
        old="        least = self.conditions.threshold_at(board.parties) + self.least_honest\n",
        new="        least = self.conditions.threshold_at(board.parties) + 1\n",
        killers=_DEALING,
    ),
    Mutant(
        name="a failed cluster counts as a zero vector with full weight",
        listed=30,
        module="bench/opening.py",
        old="            found.failure = error\n",
        new="            found.failure, nothing = error, words.new_zeros(words.shape[1]).double()\n"
        "            if len(sitting.numbers) == 1:\n"
        "                everybody = sitting.seats[0]\n"
        "                said = Inside(mean=nothing, contributors=everybody, exact=True)\n"
        "                found.results[sitting.numbers[0]] = said\n",
        killers=("tests/units/test_round.py",),
    ),
    Mutant(
        name="the aggregator gets faulty processes where it needs faulty clusters",
        listed=31,
        module="bench/setting.py",
        old="        return min(self.declared_faulty, m, self.withstands(m))\n",
        new="        return self.declared_faulty\n",
        killers=("tests/units/test_round.py",),
    ),
    Mutant(
        name="the Reed-Solomon decoder accepts beyond its radius",
        listed=33,
        module="protocols/reed_solomon.py",
        old="    return (rows - degree - 1) // 2\n",
        new="    return (rows - degree - 1) // 2 + 1\n",
        killers=("tests/units/test_reed_solomon.py",),
    ),
    Mutant(
        name="NaN or infinity passes the median",
        listed=43,
        module="protocols/aggregators/_screening.py",
        old="    return ~(largest.double() <= LIMIT)\n",
        new="    return torch.zeros_like(largest, dtype=torch.bool)\n",
        killers=("tests/properties/test_aggregators.py", "-k", "median"),
    ),
    Mutant(
        name="cost counters ignore retransmissions",
        listed=46,
        module="protocols/network.py",
        old="        sent[0] += 1\n        sent[1] += payload_bytes\n",
        new='        if sequence != getattr(self, "_last", -1):\n'
        "            sent[0] += 1\n            sent[1] += payload_bytes\n"
        "        self._last = sequence\n",
        killers=("tests/units/test_network.py", "-k", "Meter or count"),
    ),
)

OWN: tuple[Mutant, ...] = (
    Mutant(
        name="hidden sums of inputs that nobody looks at",
        private=True,
        module=_CHECKING,
        old="    passing = open_in_range(bits, draw, values, limit_of(combining))\n",
        new="    passing = torch.ones_like(open_in_range(bits, draw, values, limit_of(combining)))\n",
        killers=_CHECKED,
    ),
    Mutant(
        name="a range check of the sum alone",
        private=True,
        module=_CHECKING,
        old="    passing = open_in_range(bits, draw, values, limit_of(combining))\n",
        new="    total = values.parts.sum(dim=2, keepdim=True).expand_as(values.parts).contiguous()\n"
        "    passing = open_in_range(bits, draw, Shared(parts=total), limit_of(combining))\n",
        killers=_CHECKED,
    ),
    Mutant(
        name="a range that ends one unit too far, and begins one too late",
        module="protocols/secure_robust/_checked.py",
        old="    shifted = bits.over(WORDS).add_public(values, torch.tensor(1 << limit))\n",
        new="    shifted = bits.over(WORDS).add_public(values, torch.tensor((1 << limit) - 1))\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "TestRangeCheck"),
    ),
    Mutant(
        name="a range twice as wide as sums have room for",
        private=True,
        module="protocols/secure_robust/_passing.py",
        old="_ROOM = 62\n",
        new="_ROOM = 63\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "TestRangeCheck"),
    ),
    Mutant(
        name="a sum that opens although too few pass",
        private=True,
        module="protocols/secure_robust/_passing.py",
        old="    return passing * (passing.sum(dim=1, keepdim=True) >= least)\n",
        new="    return passing * (passing.sum(dim=1, keepdim=True) >= least - 1)\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "fewer_than_have_to_pass"),
    ),
    Mutant(
        name="comparisons that every party counts",
        module="protocols/secure_robust/_engine.py",
        old="        if self.rank == 0:\n            self._link.meter.compared",
        new="        if self.rank >= 0:\n            self._link.meter.compared",
        killers=("tests/properties/test_secure_robust.py", "-k", "eight_members"),
    ),
    Mutant(
        name="shares of an opening that no pad blinds",
        private=True,
        module="protocols/secure_robust/_engine.py",
        old="            blind = (self.algebra.add if self.rank < peer else self.algebra.subtract)(blind, words)\n",
        new="            blind = self.algebra.add(blind, torch.zeros_like(words))\n",
        killers=("tests/properties/test_robust_secrecy.py",),
    ),
    Mutant(
        name="a range check that forgets its borrow",
        module="protocols/secure_robust/_checked.py",
        old="    inside = bits.add(plain, bits.products((borrow, bits.add(plain, less_one))))\n",
        new="    inside = bits.add(plain, bits.products((borrow, bits.add(less_one, less_one))))\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "TestNormCheck"),
    ),
    Mutant(
        name="a clipped sum opened with what is below its units",
        private=True,
        module="protocols/secure_robust/_weighted.py",
        old="        whole = bits.reveal(planes.take(2, range(fraction, WORD_BITS)))\n",
        new="        whole = bits.reveal(planes)[:, :, fraction:]\n",
        killers=("tests/properties/test_robust_openings.py", "-k", "nothing_else and clip"),
    ),
    Mutant(
        name="whole units of a clipped sum without their lowest plane",
        module="protocols/secure_robust/_weighted.py",
        old="        whole = bits.reveal(planes.take(2, range(fraction, WORD_BITS)))\n",
        new="        whole = bits.reveal(planes.take(2, [fraction + 1, *range(fraction + 1, WORD_BITS)]))\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "TestClip"),
    ),
    Mutant(
        name="centred clipping that stays at its first centre",
        module="protocols/secure_robust/centered_clipping.py",
        old="            values = engine.add_public(values, -moved[:, None])  # deviations from the centre reached\n",
        new="            values = engine.add_public(values, -moved[:, None] * 0)\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "TestCenteredClipping"),
    ),
    Mutant(
        name="a range check that asks the last wave only",
        module="protocols/secure_robust/_scan.py",
        old="    everywhere = all_set(bits, bits.join(flags, 2)).view(clusters, members, 1)\n",
        new="    everywhere = all_set(bits, bits.join(flags[-1:] * len(flags), 2)).view(clusters, members, 1)\n",
        killers=("tests/properties/test_robust_norms.py", "-k", "whichever_wave"),
    ),
    Mutant(
        name="weights of a geometric median that do not add up to one",
        module="protocols/secure_robust/_weiszfeld.py",
        old="    missing = (1 << SHARE_BITS) - parts.sum(axis=1)\n",
        new="    missing = parts.sum(axis=1) * 0\n",
        killers=("tests/properties/test_robust_geometric.py", "-k", "convex"),
    ),
    Mutant(
        name="what weights lack given to everybody, not to the anchor",
        module="protocols/secure_robust/_weiszfeld.py",
        old="    return add(bits, parts, bits.products((_everywhere(missing, words), cloud.anchor)))\n",
        new="    return add(bits, parts, bits.products((_everywhere(missing, words), cloud.in_range)))\n",
        killers=("tests/properties/test_robust_geometric.py", "-k", "wrap_a_square"),
    ),
    Mutant(
        name="of two values both come before the other",
        module="protocols/secure_robust/_ranking.py",
        old="    both = engine.join([later, negated(engine, later)], 1)\n",
        new="    both = engine.join([later, later], 1)\n",
        killers=("tests/units/test_robust_core.py", "-k", "places"),
    ),
    Mutant(
        name="tags without their masks",
        private=True,
        module=_VERIFIED,
        old="        return field.add(combined, rows[..., first : first + self.checks])\n",
        new="        return field.add(combined, rows[..., first : first + self.checks] * 0)\n",
        killers=("tests/properties/test_invariants.py", "-k", "I12 and (shamir or authenticated)"),
    ),
    Mutant(
        name="all attempts use the same masks",
        private=True,
        module=_VERIFIED,
        old="        field, first = self.sharing.field, self.coordinates + attempt * self.checks\n",
        new="        field, first = self.sharing.field, self.coordinates\n",
        killers=_DEALING,
    ),
    Mutant(
        name="an openly posted row is not checked against its hash",
        module=_BULLETIN,
        old="                if fits(plan, row, state.hashes[dealer, member]):\n",
        new="                if row is not None:\n",
        killers=_DEALING,
    ),
    Mutant(
        name="evidence is not checked against its hash, so that an accuser can frame",
        module=_BULLETIN,
        old="                state.suspects.add(dealer if bound and not same else member)\n",
        new="                state.suspects.add(dealer if bound or not same else member)\n",
        killers=_DEALING,
    ),
    Mutant(
        name="opened sums need not be those committed to",
        module=_BULLETIN,
        old="        if not inside or rank not in sums or not torch.equal(hash_rows(row), sums[rank]):\n",
        new="        if not inside or rank not in sums:\n",
        killers=_DEALING,
    ),
    Mutant(
        name="opened sums are not checked against the tags",
        module=_BULLETIN,
        old="        return torch.equal(plan.tag(coefficients, row, 0), field.sum(plan.tags_at(tags, rank), 0))\n",
        new="        return True\n",
        killers=_DEALING,
    ),
    Mutant(
        name="a crash is called cheating",
        module=_BULLETIN,
        old="            state.suspects |= wrong\n",
        new="            wrong |= {rank for rank in sums if rank not in opened}\n            state.suspects |= wrong\n",
        killers=_DEALING,
    ),
    Mutant(
        name="a dealer counts although not all have its shares",
        module="protocols/secure_sum/_unverified.py",
        old="if holders and all(rank in has[holder] for holder in holders)]",
        new="if holders and any(rank in has[holder] for holder in holders)]",
        killers=_DEALING,
    ),
    Mutant(
        name="one stream of randomness for all purposes",
        private=True,
        module=_SECRETS,
        old='            info = f"cloister own secrets v1, {purpose}".encode()\n',
        new='            info = b"cloister own secrets v1"\n',
        killers=("tests/units/test_secret_source.py",),
    ),
    Mutant(
        name="elements of a field are reduced instead of rejected",
        private=True,
        module="protocols/field.py",
        old="        return candidates, candidates < self.modulus\n",
        new="        return candidates % self.modulus, candidates >= 0\n",
        killers=("tests/units/test_field.py",),
    ),
    Mutant(
        name="all clusters of a batch draw the same masks",
        private=True,
        module="protocols/randomness.py",
        old='lane.to_bytes(4, "big")',
        new="bytes(4)",
        killers=("tests/units/test_randomness.py",),
    ),
    Mutant(
        name="every round draws the same masks",
        private=True,
        module="protocols/randomness.py",
        old='use.to_bytes(6, "big")',
        new="bytes(6)",
        killers=("tests/units/test_randomness.py",),
    ),
    Mutant(
        name="a member answers a second list of survivors",
        private=True,
        module="protocols/secure_sum/_key_shares.py",
        old="        if self._answered not in (None, survivors):\n",
        new="        if self._answered == frozenset():\n",
        killers=("tests/units/test_masking.py", "-k", "list"),
    ),
    Mutant(
        name="both shares of a member are released",
        private=True,
        module="protocols/secure_sum/_key_shares.py",
        old="self.SELF_MASK if dealer in survivors else self.MASK_KEY",
        new="self.MASK_KEY if dealer in survivors else self.SELF_MASK",
        killers=("tests/properties/test_masked.py", "-k", "exact or contributors or sum"),
    ),
    Mutant(
        name="members do not add their self-masks",
        private=True,
        module="protocols/secure_sum/_masking.py",
        old='    return _expand(plan, derive(seed, plan.context(f"self-mask of {rank}")))\n',
        new='    return _expand(plan, derive(seed, plan.context(f"self-mask of {rank}"))) * 0\n',
        killers=("tests/properties/test_masked.py", "tests/units/test_masking.py"),
    ),
    Mutant(
        name="encoding cuts instead of rounding",
        module="protocols/ring.py",
        old="        return torch.round(scaled).to(torch.int64)\n",
        new="        return scaled.to(torch.int64)\n",
        killers=("tests/units/test_ring.py",),
    ),
    Mutant(
        name="the bound of one value is taken for that of a sum",
        module="protocols/ring.py",
        old="        return (self.modulus - 1) // 2 // terms\n",
        new="        return (self.modulus - 1) // 2\n",
        killers=("tests/units/test_ring.py",),
    ),
    Mutant(
        name="vouchers for opened sums are not looked at",
        module="protocols/secure_sum/_publish.py",
        old="    if wrong:\n",
        new="    if wrong and not wrong:\n",
        killers=("tests/properties/test_faults.py", "-k", "other_words_to_one_party"),
    ),
    Mutant(
        name="a voucher leaves out the last word of the sums",
        module="protocols/secure_sum/_publish.py",
        old="    maker.authenticate_additional_data(sums)\n",
        new="    maker.authenticate_additional_data(sums[:-8])\n",
        killers=("tests/units/test_publish.py",),
    ),
    Mutant(
        name="a voucher fits every batch",
        module="protocols/secure_sum/_publish.py",
        old='use.to_bytes(_TAG_BYTES, "big")',
        new="bytes(_TAG_BYTES)",
        killers=("tests/units/test_publish.py",),
    ),
    Mutant(
        name="all vouchers are under a key that everybody knows",
        module="protocols/secure_sum/_publish.py",
        old='party.keys.secrets.token(purpose="voucher", use=party.use, size=_KEY_BYTES)',
        new="bytes(_KEY_BYTES)",
        killers=("tests/units/test_publish.py",),
    ),
    Mutant(
        name="every signature is accepted",
        module="protocols/identity.py",
        old="            return False\n",
        new="            return True\n",
        killers=("tests/units/test_identity.py",),
    ),
    Mutant(
        name="a message of another place of the protocol is taken",
        module="protocols/network.py",
        old="    if header.sequence != sequence or header.payload_bytes != payload_bytes:\n",
        new="    if header.payload_bytes != payload_bytes:\n",
        killers=("tests/units/test_network.py", "-k", "out_of_step or doubled"),
    ),
    Mutant(
        name="the shortest chain of messages is taken for the longest",
        module="protocols/network.py",
        old="[max(member_hops, header.member_hops)",
        new="[min(member_hops or 99, header.member_hops)",
        killers=("tests/units/test_network.py", "-k", "hops or depth or chain"),
    ),
    Mutant(
        name="offline traffic is counted as online",
        module="protocols/network.py",
        old="        self._is_offline = True\n",
        new="        self._is_offline = False\n",
        killers=("tests/units/test_network.py", "-k", "offline"),
    ),
    Mutant(
        name="a lost peer is heard again",
        module="protocols/in_process_link.py",
        old="        if peer in self._lost:\n            return []\n",
        new="        self._lost.pop(peer, None)\n",
        killers=("tests/units/test_network.py", "tests/units/test_in_process_link.py", "-k", "lost"),
    ),
    Mutant(
        name="group members send their words without a share of zero",
        private=True,
        module="protocols/hidden_sums/_groups.py",
        old="        return party.keys.zero_shares.draw_among(\n",
        new="        return entered.held if party.rank >= 0 else party.keys.zero_shares.draw_among(\n",
        killers=("tests/properties/test_hidden_sums.py", "-k", "TestSecrecy"),
    ),
    Mutant(
        name="holders hand on their shares of a group's sum without new randomness",
        private=True,
        module=_RESHARING,
        old="        split = (_words_of(seed, party.use, (clusters, coordinates)) for seed in drawn)\n",
        new="        split = (_words_of(seed, party.use, (clusters, coordinates)) for seed in drawn[:0])\n",
        killers=("tests/properties/test_hidden_groups.py", "-k", "TestSecrecy"),
    ),
    Mutant(
        name="shares in a Galois ring are added as they are, without Lagrange weights",
        module="protocols/galois.py",
        old="            weights.append(weight)\n",
        new="            weights.append(self.one)\n",
        killers=("tests/properties/test_hidden_groups.py", "-k", "add_up"),
    ),
    Mutant(
        name="a group's threshold is declared as all but one, which Shamir's sharing is not",
        private=True,
        module="protocols/hidden_sums/_seating.py",
        old="if len(colluding & set(leaf)) > self.sharing.threshold(len(leaf))]\n",
        new="if len(colluding & set(leaf)) >= len(leaf)]\n",
        killers=("tests/properties/test_hidden_groups.py", "-k", "TestThresholds"),
    ),
    Mutant(
        name="a group goes on with as many members left as its threshold",
        module="protocols/hidden_sums/_seating.py",
        old="            or len(attendance.present.intersection(leaf)) <= self.sharing.threshold(len(leaf))\n",
        new="            or len(attendance.present.intersection(leaf)) < self.sharing.threshold(len(leaf))\n",
        killers=("tests/properties/test_hidden_groups.py", "-k", "TestCrashes"),
    ),
    Mutant(
        name="the results of two committees are not compared",
        module="protocols/hidden_sums/_combining.py",
        old="    if not all(torch.equal(results[0], other) for other in results[1:]):\n",
        new="    if not all(torch.equal(results[0], other) for other in results[2:]):\n",
        killers=("tests/properties/test_hidden_committees.py", "-k", "TestLies"),
    ),
    Mutant(
        name="a delegate of the first committee serves in the second",
        module="protocols/hidden_sums/_seating.py",
        old="        free = [rank for rank in holders if rank not in first]\n",
        new="        free = list(holders)\n",
        killers=("tests/properties/test_hidden_committees.py", "-k", "nobody_serves_twice"),
    ),
    Mutant(
        name="delegates do not compare the seeds that they got",
        module=_RESHARING,
        old="    if wrong:\n",
        new="    if len(wrong) > 9:\n",
        killers=("tests/properties/test_hidden_sums.py", "-k", "seeds_that_differ"),
    ),
    Mutant(
        name="groups' sums are not weighted by their sizes",
        module="protocols/hidden_sums/_combining.py",
        old=".scale(sums, weights[:, None])",
        new=".scale(sums, weights[:1, None])",
        killers=("tests/properties/test_hidden_sums.py", "-k", "python_integers"),
    ),
    Mutant(
        name="noise shares are scaled for g delegates, not for g - t2",
        module="protocols/hidden_sums/_noise.py",
        old="        return self.std / math.sqrt(self.access.parties - self.access.threshold)\n",
        new="        return self.std / math.sqrt(self.access.parties)\n",
        killers=("tests/properties/test_hidden_noise.py", "-k", "variance"),
    ),
    Mutant(
        name="one more colluding delegate than t2 leaves the noise counted",
        module="protocols/hidden_sums/_noise.py",
        old="    if known > access.threshold:\n",
        new="    if known > access.threshold + 1:\n",
        killers=("tests/properties/test_hidden_noise.py", "-k", "colluding"),
    ),
    Mutant(
        name="a group with a missing member is added up",
        module="protocols/hidden_sums/_seating.py",
        old="            if not attendance.dealt.issuperset(leaf)\n",
        new="            if attendance.dealt.isdisjoint(leaf)\n",
        killers=("tests/properties/test_hidden_groups.py", "-k", "outcome"),
    ),
    Mutant(
        name="whoever withholds its opening leaves the beacon's set",
        module=_BEACON,
        old="        return Opened(sums=total, contributors=rows.dealers,",
        new="        return Opened(sums=total, contributors=tuple(rows.positions),",
        killers=(*_BEACONS, "-k", "withholds"),
    ),
    Mutant(
        name="a beacon's openings are not checked against their commitments",
        module=_BEACON,
        old="            committed_sums=True,\n",
        new="            committed_sums=False,\n",
        killers=(*_BEACONS, "-k", "TheExactLaw"),
    ),
    Mutant(
        name="t rows tell a contribution before it is opened",
        private=True,
        module=_BEACON,
        old="degree=self.conditions.threshold_at(parties))",
        new="degree=self.conditions.threshold_at(parties) - 1)",
        killers=(*_BEACONS, "-k", "TheExactLaw"),
    ),
    Mutant(
        name="a beacon draws with the contributions of too few",
        module=_BEACON,
        old="least_dealers=plan.sharing.least)",
        new="least_dealers=1)",
        killers=(*_BEACONS, "-k", "too_few_dealers"),
    ),
    Mutant(
        name="a process believes the openings that the board shows",
        module=_BEACON,
        old="    mine = own[:, : plan.coordinates]\n",
        new="    mine = shown[rank]\n",
        killers=(*_BEACONS, "-k", "TheBoardsLastWord"),
    ),
    Mutant(
        name="a beacon's value does not depend on what it was drawn for",
        module="protocols/beacons/__init__.py",
        old="    for part in (*occasion.label, parties,",
        new="    for part in (parties,",
        killers=(*_BEACONS, "-k", "TestValues"),
    ),
    Mutant(
        name="a mask is scaled before the noise instead of after it",
        private=True,
        module="protocols/compression/rand_k.py",
        old="        return updates.index_select(1, self.kept.to(updates.device))\n",
        new="        return updates.index_select(1, self.kept.to(updates.device)) * round(self.scale)\n",
        killers=("tests/properties/test_compression.py", "-k", "lengthens_no_row"),
    ),
    Mutant(
        name="noise on messages that compression makes longer",
        private=True,
        module="bench/compressing.py",
        old="    if gain is None or gain > 1:\n",
        new="    if gain is None:\n",
        killers=(*_COMPRESSING, "-k", "TestRefusals"),
    ),
    Mutant(
        name="a mask that is the same in all rounds",
        module="bench/compressing.py",
        old="if federation.compressor.server_memory else (round_index,)",
        new="if True else (round_index,)",
        killers=(*_COMPRESSING, "-k", "mask_of_its_own"),
    ),
    Mutant(
        name="the server forgets what it kept of the rounds before",
        module="bench/round.py",
        old="        federation.recall.residue = whole - ",
        new="        federation.recall.residue = noisy - ",
        killers=(*_COMPRESSING, "-k", "TestMemory"),
    ),
    Mutant(
        name="errors are fed back to other processes than those that made them",
        module="bench/compressing.py",
        old="torch.from_numpy(federation.numbers)\n",
        new="torch.arange(len(updates))\n",
        killers=(*_COMPRESSING, "-k", "TestMemory"),
    ),
    Mutant(
        name="noise of fellow members counts where each input can be opened",
        private=True,
        module="bench/noise.py",
        old="adders = min(adders, 1) if _opened_one_by_one(federation, cluster) else adders",
        new="adders = adders if _opened_one_by_one(federation, cluster) else adders",
        killers=("tests/units/test_round.py", "-k", "shares_that_hide"),
    ),
    Mutant(
        name="a weighted trimmed mean cuts clusters, whatever their weight",
        module="protocols/aggregators/weighted_trimmed_mean.py",
        old="min(int(heaviest(sizes, tolerate)), (int",
        new="min(tolerate, (int",
        killers=("tests/properties/test_weighted_rules.py",),
    ),
    Mutant(
        name="an attack that knows the defence is not told what comes before the rule",
        module="bench/attacking.py",
        old="        pre=federation.pre_specs,\n",
        new="        pre=(),\n",
        killers=("tests/units/test_attacking.py", "-k", "what_comes_before_the_rule"),
    ),
    Mutant(
        name="a cluster is judged before the last of its domains is known",
        module="protocols/tolerance/transfer.py",
        old="if last[j] == place)",
        new="if last[j] >= place)",
        killers=("tests/properties/test_tolerance_laws.py", "-k", "domains"),
    ),
    Mutant(
        name="angles are left out at which the integrand still matters",
        module="protocols/tolerance/saddle.py",
        old="Axis(steps=axis.steps[fade > -faded]",
        new="Axis(steps=axis.steps[fade > -faded / 8]",
        killers=("tests/units/test_tolerance_engines.py", "-k", "angles or third_kind"),
    ),
    Mutant(
        name="a lower bound counts one cluster fewer that can be fine",
        module="protocols/tolerance/union.py",
        old="(mean - most) / (m - most)",
        new="(mean - most) / max(1, m - most - 1)",
        killers=("tests/units/test_tolerance_engines.py", "-k", "sandwich"),
    ),
    Mutant(
        name="bench tolerance asks about another number of honest inputs than bench run",
        module="protocols/playable.py",
        old='"least_honest": least_honest}\n',
        new='"least_honest": least_honest or 1}\n',
        killers=("tests/integration/test_bench_tolerance.py", "-k", "predicted"),
    ),
    Mutant(
        name="parties number the batches of a cell from where the one before it has ended",
        module="bench/opening.py",
        old="number=number, faults=sitting.faults)",
        new="faults=sitting.faults)",
        killers=("tests/units/test_numbering.py", "-k", "run_before"),
    ),
    Mutant(
        name="what another cluster's member is sent enters no other cluster",
        module="bench/seating.py",
        old="faults=dict.fromkeys(places, self.fault))",
        new="faults={})",
        killers=("tests/units/test_seating.py",),
    ),
    Mutant(
        name="who joins again takes the place of the one that it was before",
        module="bench/churning.py",
        old="self._who[leavers] = self._who[leavers][order]",
        new="self._who[leavers] = self._who[leavers]",
        killers=("tests/units/test_churning.py", "-k", "simulation"),
    ),
    Mutant(
        name="the deviations of an attack are differences that cancel",
        module="attacks/update/_statistics.py",
        old="    if bool(vague.any()):\n",
        new="    if False:\n",
        killers=("tests/units/test_update_attacks.py", "-k", "cancel"),
    ),
    Mutant(
        name="bucketing promises as if no honest row shared a bucket with a tainted one",
        module="protocols/aggregators/pre/bucketing.py",
        old=" / (buckets - tolerate)\n",
        new=" / buckets / buckets\n",
        killers=("tests/properties/test_composition.py", "-k", "buckets_stay_within"),
    ),
    Mutant(
        name="a rule makes its order on the processor, wherever its rows are",
        module="protocols/aggregators/zeno.py",
        old="dtype=torch.bool, device=rows.device)",
        new="dtype=torch.bool)",
        killers=("tests/properties/test_aggregators.py", "-k", "zeno and works_where"),
    ),
)

_MODELS = ("tests/properties/test_one_model.py",)
_ONE_MODEL: tuple[Mutant, ...] = (
    Mutant(
        name="masks are the same whatever the model, so that a sum opens before vouchers tell",
        module="protocols/zero_sharing.py",
        old="pairs = {peer: streams.under(model) for peer, streams in pairs.items()}\n",
        new="pairs = dict(pairs)\n",
        private=True,
        killers=("tests/properties/test_invariants.py", "-k", "I24 and additive"),
    ),
    Mutant(
        name="vouchers do not name the model",
        module="protocols/secure_sum/_publish.py",
        old='use.to_bytes(_TAG_BYTES, "big") + model)\n',
        new='use.to_bytes(_TAG_BYTES, "big") + NO_MODEL)\n',
        killers=("tests/properties/test_invariants.py", "-k", "I24 and additive"),
    ),
    Mutant(
        name="the board does not compare the models of dealers",
        module="protocols/secure_sum/_unverified.py",
        old="return {rank for rank, post in said.items() if torch.equal(post[-DIGEST_BYTES:], announced)}\n",
        new="return {rank for rank, post in said.items() if len(post[-DIGEST_BYTES:]) == len(announced)}\n",
        killers=_MODELS,
    ),
    Mutant(
        name="members do not compare the models that the board shows",
        module="protocols/secure_sum/_verified.py",
        old="if not torch.equal(self._models[dealer], own)]\n",
        new="if len(self._models[dealer]) != len(own)]\n",
        killers=_MODELS,
    ),
    Mutant(
        name="key shares are sealed whatever the model",
        module="protocols/secure_sum/_masking.py",
        old="return self.context(what) + self.model\n",
        new="return self.context(what)\n",
        killers=("tests/properties/test_invariants.py", "-k", "I24 and masked"),
    ),
    Mutant(
        name="what a member said of its model fits a later batch",
        module="protocols/model_digest.py",
        old='use.to_bytes(16, "little")',
        new="bytes(16)",
        killers=_MODELS,
    ),
)

MUTANTS: tuple[Mutant, ...] = LISTED + OWN + _ONE_MODEL
