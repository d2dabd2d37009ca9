"""Every claim by its name, in the order of the table."""

from collections.abc import Callable

from worldsim.experiments.proofs import claims, judge_claims, learning_claims, ranking_claims
from worldsim.experiments.proofs.models import Models
from worldsim.experiments.proofs.rows import Row

CLAIMS: dict[str, Callable[[Models], Row]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        claims.gravity,
        claims.swap,
        claims.depth,
        claims.flow,
        claims.warp,
        claims.stage_two,
        claims.stage_three,
        learning_claims.rwr,
        learning_claims.real_preferred,
        learning_claims.rl,
        judge_claims.inverse_dynamics,
        judge_claims.chamfer,
        ranking_claims.ranking,
    )
}
