"""The README's numbers on placements, misconduct and exchanges are those of the committed tables.

What an assertion says it ought to be is what to write there once a report has been made again.
"""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def table(preset: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "reports" / preset / "results.csv", keep_default_na=False, na_values=[""])


def short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def said(sentence: str) -> None:
    assert sentence in README, f"the README ought to say: {sentence}"


def test_on_placements() -> None:
    rows = table("placement")
    assert rows.contradicted.isna().all()
    private, correct = (rows.groupby("clustering")[side].mean() for side in ("predicted_private", "predicted_correct"))
    kept = [private[name] for name in ("round_robin", "stratified", "segregated", "similarity", "locality")]
    said(
        f"are called safe in {min(kept):.0%} to {max(kept):.0%} of the trials".replace("% to", " to").replace("%", " %")
    )
    anew = [private[name] for name in ("random(every=1)", "sticky", "reputation")]
    said(f"(`random`, `sticky`, `reputation`) in {100 * min(anew):.0f} to {100 * max(anew):.0f} %")
    said(f"so are `overlapping` ones ({100 * private['overlapping']:.0f} %)")
    said(f"taints few clusters, is safe in {100 * correct['locality']:.0f} % of the trials")
    said(f"({100 * correct['locality(striped=True)']:.0f} % where it stripes clusters over domains)")
    said(f"`segregated` in {100 * correct['segregated']:.0f} %, `overlapping` in {100 * correct['overlapping']:.0f} %")
    assert correct["random(every=1)"] == 0
    under = rows[rows.attack == "ipm"].groupby("clustering").accuracy.agg(["mean", "min"]).mul(100).round()
    best = under.loc[["sticky", "reputation", "random(every=1)"]]
    assert best["mean"].nunique() == 1
    said(f"{best['mean'].iloc[0]:.0f} % on average for `sticky`, `reputation` and `random`")
    said("(lowest: {:.0f}, {:.0f} and {:.0f} %)".format(*best["min"]))
    said("{:.0f} % for `similarity` (lowest: {:.0f} %)".format(*under.loc["similarity"]))


def test_on_misconduct() -> None:
    rows = table("messages")
    assert rows.contradicted.isna().all()
    assert not rows.framed_processes.fillna(0).any()
    plain = rows[(rows.clustering == "random") & (rows.model == "logistic") & (rows.churn == 0)]
    plain = plain[plain.privacy == "none"].set_index(["protocol", "aggregator", "attack"]).sort_index()
    accuracy = plain.accuracy[~plain.index.duplicated()]
    said(f"without them accuracy is {short(accuracy['additive', 'mean', 'none'])}")
    said(f"the mean of the clusters falls to {short(accuracy['additive', 'mean', 'tamper_share'])} under the first")
    unseen = ["garbage", "equivocate", "replay", "wrong_dtype"]
    # As random as the masks: only `equivocate` is the same in every run.
    assert all(accuracy["additive", "mean", attack] < 0.3 for attack in unseen)
    assert all(accuracy["additive", "median", attack] > 0.8 for attack in [*unseen, "tamper_share"])
    messages = [*unseen, "tamper_share", "crash", "mute", "delay", "duplicate", "wrong_cluster", "truncate"]
    lost, named = plain.failed_clusters, plain.identified_culprits
    for attack in messages:
        assert lost["shamir", "mean", attack].max() == 0
        assert accuracy["shamir", "median", attack] >= 0.88
        assert accuracy["authenticated", "mean", attack] >= 0.845
    assert all(
        named["authenticated", "mean", attack].max() == 2 for attack in ("tamper_share", "garbage", "wrong_cluster")
    )
    assert all(lost[name, "mean", "mute"].max() == 20 for name in ("additive", "committee"))  # two of five, ten rounds
    assert lost["committee", "mean", "crash"].max() == 0
    sent = plain.bytes_total[~plain.index.duplicated()]
    times = sent["authenticated", "mean", "none"] / sent["additive", "mean", "none"]
    said(f"It moves {times:.1f} times the bytes of `additive`")
    cell = plain.loc["additive", "mean"].loc["ipm(tau=60.0, from_round=3, until_round=3)"]
    said(f"costs the mean {short(cell.accuracy_lost)} of accuracy")
    assert cell.rounds_to_recover == 4


def test_on_exchanges_without_a_server() -> None:
    rows = table("decentralised")
    rows = rows[rows.topology != "server"]
    mean = rows.groupby(["exchange", "attack", "topology"])[["accuracy", "worst_honest_accuracy"]].mean()
    alone = mean.loc["none", "none"].iloc[0]
    said(f"alone, clusters reach {short(alone.accuracy)} on average and the worst of them {short(alone.iloc[1])}")
    gossip = mean.loc["gossip", "none"]
    said(f"with `gossip` {short(gossip.accuracy.min())} and {short(gossip.worst_honest_accuracy.min())} or more")
    liars = "two_faces(spread=10.0)"
    said(f"Plain `gossip` is destroyed ({short(mean.loc['gossip', liars].accuracy.mean())})")
    said(f"`clipped_gossip` keeps {short(mean.loc['clipped_gossip', liars].accuracy.min())} or more on all five graphs")
    worst = mean.xs("dissensus", level="attack").worst_honest_accuracy.drop("none")
    others = worst.drop(("nna", "complete"))
    said(f"takes the worst honest model to {short(others.min())} to {short(others.max())} under every exchange")
    said(f"for `nna` on the complete graph ({short(worst['nna', 'complete'])})")
    few = [
        mean.loc[exchange, attack].worst_honest_accuracy["erdos_renyi"]
        for exchange in ("nna", "rpel")
        for attack in ("dissensus", liars)
    ]
    said(f"the worst model is at {short(min(few))} or {short(max(few))} under both attacks")


def test_another_number_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="the README ought to say"):
        said("without them accuracy is .88")
